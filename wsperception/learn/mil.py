"""Multiple-instance learning: image tags as labels of proposals.

Two streams score proposals (WSDDN, arXiv:1511.02853), refinement heads learn from the best of the stage before them
(OICR, arXiv:1704.00138). Community Learning (Eq. 3, 4, 11-13) and JTSM (Eq. 2-4) both stand on this. Each function is
about one image and vectorised over its R proposals and C classes. Logits of refinement heads are (R, C + 1), background
first; labels are 0 for background and c + 1 for class c; tags are (C,), above 0 where the class is in the image.
Every loss of no proposals is zero yet attached to the graph, so that distributed training sees every parameter.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms, box_iou

from wsperception.settings import check, setting

BACKGROUND = 0
CLAMP = 1e-6
"""Distance that image scores keep from 0 and 1 in the logarithm; the value is that of the authors' PCL code."""


@dataclass(frozen=True)
class RefinementSettings:
    """How a stage labels proposals for the next; defaults are Community Learning's."""

    iou: float = setting(0.5, "IoU with a seed above which a proposal is of its class", low=0.0, high=1.0)
    ignored_iou: float = setting(
        0.0, "IoU with all seeds below which a proposal counts nothing; OICR's code has 0.1", low=0.0, high=1.0
    )
    first_weight: float = setting(1.0, "weight of the first refinement loss; 3 in OICR's later code", low=0.0, high=10)
    weighting: str = setting(
        "seed", "weight of a proposal: score of its seed (OICR), or of its class in the image (JTSM, Eq. 3)",
        choices=("seed", "image"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class Seeds:
    """The best proposal of each class that is in the image, the highest score first.

    rows     (K,) int64    proposals; two classes may have the same
    classes  (K,) int64    index into the label space
    scores   (K,) float
    """

    rows: Tensor
    classes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def mil_scores(class_logits: Tensor, proposal_logits: Tensor) -> Tensor:
    """Scores (R, C) of proposals: what each shows times where each class is.

    class_logits     (R, C)   softmax over classes    (Community Learning, Eq. 11)
    proposal_logits  (R, C)   softmax over proposals  (Eq. 12)

    The product is Eq. 13. Its sum over proposals lies in [0, 1].
    """
    return class_logits.softmax(dim=1) * proposal_logits.softmax(dim=0)


def image_scores(scores: Tensor) -> Tensor:
    """Score (C,) of each class in the image, the sum of `scores` (R, C), kept 1e-6 away from 0 and 1."""
    return scores.sum(dim=0).clamp(CLAMP, 1.0 - CLAMP)


def image_loss(class_logits: Tensor, proposal_logits: Tensor, tags: Tensor) -> Tensor:
    """Cross-entropy of the image's scores with its tags: a scalar, the sum over classes.

    class_logits     (R, C)   as for `mil_scores`, whose sum over proposals y is the image's score; C is at least 2
    proposal_logits  (R, C)
    tags             (C,)

    -sum_c t_c log y_c + (1 - t_c) log(1 - y_c): Community Learning, Eq. 3; the same formula is JTSM, Eq. 2. Both
    logarithms are sums of exponentials over proposals: 1 - y = sum_r q_r (1 - p_r), for the q_r sum to 1. So a score
    of 0 or 1 in float32 neither costs infinitely much nor loses its gradient.
    """
    if len(class_logits) == 0:
        return (class_logits.sum() + proposal_logits.sum()) * 0.0
    where = proposal_logits.log_softmax(dim=0)
    what = torch.where(tags > 0, class_logits.log_softmax(dim=1), log_of_other_classes(class_logits))
    return -(where + what).logsumexp(dim=0).sum()


def log_of_other_classes(logits: Tensor) -> Tensor:
    """log(1 - p) (R, C) of p = softmax over the classes of `logits` (R, C), exact where p is 1 in float32 too."""
    shares = logits.log_softmax(dim=1)
    top = logits.argmax(dim=1, keepdim=True)
    # Only the likeliest class may be near 1: what is left for it is added up from the others.
    others = shares.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    likeliest = torch.zeros_like(shares, dtype=torch.bool).scatter(1, top, True)
    # The likeliest is taken out of the second branch, where its slope would be infinite.
    return torch.where(likeliest, others, torch.log1p(-shares.exp().masked_fill(likeliest, 0.0)))


@torch.no_grad()
def find_seeds(scores: Tensor, tags: Tensor) -> Seeds:
    """The pseudo boxes of an image: its best proposal for every class of its tags.

    scores  (R, C)   of the stage before, without background

    No proposals or no tags give no seeds.
    """
    classes = torch.nonzero(tags > 0).flatten()
    if len(scores) == 0:
        classes = classes[:0]
        return Seeds(classes, classes, scores.new_zeros(0))
    best, rows = scores[:, classes].max(dim=0)
    order = torch.argsort(best, descending=True, stable=True)
    return Seeds(rows[order], classes[order], best[order])


@torch.no_grad()
def refinement_targets(
    overlaps: Tensor, classes: Tensor, seed_weights: Tensor, settings: RefinementSettings
) -> tuple[Tensor, Tensor]:
    """Labels (R,) int64 and weights (R,) of proposals, from the seed that each overlaps most (section A.2.3).

    overlaps      (R, K)   IoU of proposals and seeds
    classes       (K,)     of the seeds
    seed_weights  (K,)     what a proposal weighs that takes after the seed

    A proposal with an IoU above `settings.iou` has its seed's class, another one is background; both weigh what the
    seed weighs, but nothing below `settings.ignored_iou`. Of seeds that overlap equally the first counts. Without seeds
    all is background of weight 0.
    """
    if overlaps.numel() == 0:
        return overlaps.new_zeros(len(overlaps), dtype=torch.int64), overlaps.new_zeros(len(overlaps))
    overlap, seed = overlaps.max(dim=1)
    labels = torch.where(overlap > settings.iou, classes[seed] + 1, torch.full_like(seed, BACKGROUND))
    weights = torch.where(overlap < settings.ignored_iou, torch.zeros_like(overlap), seed_weights[seed].to(overlap))
    return labels, weights


def refinement_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of logits (R, C + 1) with labels (R,), over the number of proposals (Eq. 4).

    JTSM, Eq. 3, prints the same as a sum over proposals (and a logarithm for an exponential in the softmax).
    """
    if len(logits) == 0:
        return logits.sum()
    return (weights * functional.cross_entropy(logits, labels, reduction="none")).mean()


def refinement_losses(
    scores: Tensor, heads: list[Tensor], boxes: Tensor, tags: Tensor, settings: RefinementSettings
) -> list[Tensor]:
    """The loss of each refinement head, learnt from the one before it, and the first from `mil_scores`.

    scores  (R, C)              of `mil_scores`
    heads   (R, C + 1) each     logits
    boxes   (R, 4)              of the proposals
    """
    image = image_scores(scores.detach())
    losses, before = [], scores.detach()
    for number, logits in enumerate(heads):
        seeds = find_seeds(before, tags)
        seed_weights = seeds.scores if settings.weighting == "seed" else image[seeds.classes]
        labels, weights = refinement_targets(box_iou(boxes, boxes[seeds.rows]), seeds.classes, seed_weights, settings)
        loss = refinement_loss(logits, labels, weights)
        losses.append(settings.first_weight * loss if number == 0 else loss)
        before = logits.detach().softmax(dim=1)[:, 1:]
    return losses


def mean_of_heads(heads: list[Tensor]) -> Tensor:
    """Mean probabilities (R, C + 1) of refinement heads, background first; heads (R, C + 1) logits each."""
    return torch.stack([logits.softmax(dim=1) for logits in heads]).mean(dim=0)


def likely_scores(scores: Tensor, tags: np.ndarray | None, min_share: float) -> Tensor:
    """Scores (P, C) in which 0 stands for classes outside `tags` and for what is below a share of its class's best.

    tags  (C,) bool; None: every class may be there
    """
    if len(scores) == 0:
        return scores
    kept = scores >= min_share * scores.amax(dim=0)
    if tags is not None:
        kept &= torch.from_numpy(tags).to(kept.device)
    return torch.where(kept, scores, 0.0)


@torch.no_grad()
def foreground_proposals(
    scores: Tensor, boxes: Tensor, tags: Tensor, share: float, nms_iou: float
) -> tuple[Tensor, Tensor]:
    """Proposals (F,) that show an object, and the class (F,) of each: int64, the highest score first.

    scores   (R, C)  without background
    share    of the best score of a class from which on a proposal is one of its foreground. The paper (section 3.2.1)
             takes foreground "based on their estimated scores" and says no more.
    nms_iou  above which the lower of two of a class is dropped; 0.3 in section 4.1

    Only classes of the tags count. A proposal of two classes is of the one with the higher score. The best of each
    class stands first among its own, unless it is the better one of another class.
    """
    wanted = (tags > 0) & (scores >= share * scores.amax(dim=0)) if len(scores) else scores > 0
    rows, classes = torch.nonzero(wanted, as_tuple=True)
    chosen = scores[rows, classes]
    kept = batched_nms(boxes[rows], chosen, classes, nms_iou)
    rows, classes = rows[kept], classes[kept]
    taken = (rows[:, None] == rows[None, :]).tril(diagonal=-1).any(dim=1)
    return rows[~taken], classes[~taken]


@torch.no_grad()
def background_proposals(
    boxes: Tensor, foreground: Tensor, below_iou: float, count: int, generator: torch.Generator
) -> Tensor:
    """At most `count` proposals (B,) int64, drawn at random from those whose IoU with every foreground one is lower.

    boxes       (R, 4)
    foreground  (F,) int64 rows of `boxes`; without any, all proposals may be drawn
    """
    overlap = box_iou(boxes, boxes[foreground])  # (R, F)
    free = torch.nonzero((overlap < below_iou).all(dim=1)).flatten()
    # On the generator's own device (the CPU), so that every device draws alike.
    order = torch.randperm(len(free), generator=generator)[:count]
    return free[order.to(free.device)]
