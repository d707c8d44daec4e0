"""The instance subnetwork of LAT (Li, Arnab, Torr, ECCV 2018, section 3.5): detections share out a semantic picture.

Every detection is a label, and so is every stuff class; a dense CRF gives each pixel one of them. What its unary
energies are made of comes from the detections of the image, so that the network has as many labels as the image needs
(Arnab and Torr, "Pixelwise Instance Segmentation with a Dynamically Instantiated Network", CVPR 2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from wsperception.geometry import pixel_range, tight_boxes
from wsperception.learn.crf.mean_field import PairwiseSettings, mean_field
from wsperception.settings import check, setting
from wsperception.types import VOID, SegmentMap

IGNORE = -1
"""Target of a pixel that takes no part in the loss."""
SMALLEST_IOU = 0.05
"""Below, a segment and a detection are not the same object: nothing would be learnt from a match."""


@dataclass(frozen=True)
class InstanceCrfSettings:
    """The unaries and the CRF; weights are where learning starts from."""

    epsilon: float = setting(1e-4, "epsilon of Eq. 2: share of a label that has no evidence", low=1e-8, high=0.1)
    pairwise: PairwiseSettings = field(default_factory=lambda: PairwiseSettings(iterations=5))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class InstanceLabels:
    """The L labels of one image: its detections, then one for each stuff class.

    class_ids  (L,) int64
    scores     (L,) float32      s_k of Eq. 3; 1 for stuff
    boxes      (L, 4) float32    x0 y0 x1 y1 exclusive; the whole image for stuff
    things     int               how many of them are detections
    """

    class_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    things: int

    def __len__(self) -> int:
        return len(self.class_ids)


def instance_labels(
    class_ids: np.ndarray, scores: np.ndarray, boxes: np.ndarray, is_thing: Sequence[bool], size: tuple[int, int]
) -> InstanceLabels:
    """The labels of D detections, classes (D,), scores (D,) and boxes (D, 4), in an image of `size` (H, W).

    For every class that is no thing a dummy detection of score 1 over the whole image is added (section 3.5).
    """
    stuff = np.flatnonzero(~np.asarray(is_thing, bool))
    whole = np.tile(np.array([[0, 0, size[1], size[0]]], np.float32), (len(stuff), 1))
    return InstanceLabels(
        np.concatenate([class_ids, stuff]).astype(np.int64),
        np.concatenate([scores, np.ones(len(stuff))]).astype(np.float32),
        np.concatenate([boxes.reshape(-1, 4), whole]).astype(np.float32),
        len(class_ids),
    )


def instance_unaries(semantic: Tensor, labels: InstanceLabels, weights: Tensor, epsilon: float) -> Tensor:
    """-ln(w1 psi_box + w2 psi_global + epsilon) of every label at every pixel: (L, H, W)  (Eq. 2 to 4).

    semantic  (C, H, W)   Q: probability of each class at each pixel
    weights   (2,)        w1 and w2, at least 0
    """
    height, width = semantic.shape[1:]
    shared = semantic[torch.from_numpy(labels.class_ids).to(semantic.device)]  # psi_global (L, H, W)
    inside = torch.zeros(shared.shape, dtype=shared.dtype, device=shared.device)
    for row, (score, (x0, y0, x1, y1)) in enumerate(zip(labels.scores.tolist(), labels.boxes.tolist(), strict=True)):
        rows, columns = pixel_range(y0, y1, height), pixel_range(x0, x1, width)
        inside[row, slice(*rows), slice(*columns)] = score
    return -((weights[0] * inside + weights[1]) * shared + epsilon).log()


class InstanceCrf(nn.Module):
    """The subnetwork: parameters are w1, w2 and the weights of the two kernels, kept positive as exponentials."""

    def __init__(self, settings: InstanceCrfSettings) -> None:
        super().__init__()
        self.settings = settings
        self.log_unary = nn.Parameter(torch.zeros(2))
        self.log_pairwise = nn.Parameter(torch.tensor(settings.pairwise.weights).log())

    def forward(self, semantic: Tensor, image: Tensor, labels: InstanceLabels) -> Tensor:
        """Probability of each label at each pixel: (L, H, W), each pixel's sum to 1; no label gives (0, H, W).

        semantic  (C, H, W)   probabilities of the semantic network; gradients reach it
        image     (3, H, W)   RGB, 0 to 255
        """
        if len(labels) == 0:
            return semantic[:0]
        unaries = instance_unaries(semantic.float(), labels, self.log_unary.exp(), self.settings.epsilon)
        return mean_field(unaries, image, self.log_pairwise.exp(), self.settings.pairwise)


def matched_targets(probabilities: Tensor, labels: InstanceLabels, truth: np.ndarray, truth_classes: Tensor) -> Tensor:
    """The true segments renamed to the labels that predict them best: (H, W) int64, IGNORE where there is none.

    probabilities  (L, H, W)        of the subnetwork
    truth          (H, W) integer   row of `truth_classes` for each pixel, negative where it is not known
    truth_classes  (S,) int64       class of every true segment

    Segments of stuff belong to the one label of their class. Those of a thing class are matched with its detections one
    to one, so that the sum of the IoUs is largest (section 3.5; the IoU is that of the probabilities). A segment
    without a detection is ignored: no label could be right there.
    """
    with torch.no_grad():
        rows = torch.from_numpy(truth.astype(np.int64)).to(probabilities.device)
        count = len(truth_classes)
        index = torch.where(rows < 0, count, rows).flatten()
        masks = functional.one_hot(index, count + 1)[:, :count].to(probabilities.dtype)  # (N, S)
        flat = probabilities.flatten(1)  # (L, N)
        known = (rows >= 0).flatten().to(probabilities.dtype)
        common = flat @ masks
        union = (flat @ known)[:, None] + masks.sum(dim=0) - common
        pairs = _matches((common / union.clamp(min=1e-9)).cpu().numpy(), labels, truth_classes.cpu().numpy())
        names = torch.full((count + 1,), IGNORE, device=rows.device)
        for label, segment in pairs:
            names[segment] = label
        return names[index].view(rows.shape)


def _matches(ious: np.ndarray, labels: InstanceLabels, truth_classes: np.ndarray) -> list[tuple[int, int]]:
    """(label, segment) pairs; ious (L, S)."""
    pairs = []
    for class_id in np.unique(truth_classes):
        segments = np.flatnonzero(truth_classes == class_id)
        found = np.flatnonzero(labels.class_ids == class_id)
        if len(found) and found[0] >= labels.things:
            pairs += [(int(found[0]), int(segment)) for segment in segments]
            continue
        part = ious[np.ix_(found, segments)]
        for label, segment in zip(*linear_sum_assignment(-part), strict=True):
            if part[label, segment] >= SMALLEST_IOU:
                pairs.append((int(found[label]), int(segments[segment])))
    return pairs


def instance_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of (L, H, W) probabilities with targets (H, W): a scalar, the mean over pixels not IGNORE.

    Without such a pixel, or without labels, 0 that is attached to the graph.
    """
    kept = targets != IGNORE
    if not bool(kept.any()):
        return probabilities.sum() * 0.0
    chosen = probabilities.gather(0, targets.clamp(min=0)[None])[0][kept]
    return -chosen.clamp(min=1e-8).log().mean()


def panoptic_segments(probabilities: Tensor, labels: InstanceLabels) -> SegmentMap:
    """Every pixel to its likeliest label, (L, H, W): things first, then stuff; labels without a pixel have no row.

    The score is the detection's for a thing and the mean probability over its pixels for stuff (section 4.3). No label
    at all leaves the image void.
    """
    size = (int(probabilities.shape[1]), int(probabilities.shape[2]))
    if len(labels) == 0:
        return SegmentMap.empty(size)
    highest, chosen = (part.cpu().numpy() for part in probabilities.detach().float().max(dim=0))
    areas = np.bincount(chosen.ravel(), minlength=len(labels))
    means = np.bincount(chosen.ravel(), highest.ravel(), minlength=len(labels)) / np.maximum(areas, 1)
    kept = np.flatnonzero(areas)
    names = np.zeros(len(labels), np.uint16)
    names[kept] = np.arange(1, len(kept) + 1)
    ids = names[chosen]
    thing = kept < labels.things
    scores = np.where(thing, labels.scores[kept], np.clip(means[kept], 0.0, 1.0)).astype(np.float32)
    boxes = tight_boxes(ids, len(kept) + 1)
    boxes[1:][thing] = labels.boxes[kept[thing]]
    return SegmentMap(
        ids,
        np.append(VOID, labels.class_ids[kept]).astype(np.int32),
        np.append(np.float32(0), scores),
        np.zeros(len(kept) + 1, np.int32),
        boxes,
    )
