"""The loss of pixel classes where only some pixels have a label, and its use for a panoptic network's semantic branch.

LAT section 3.1; Kirillov et al., Panoptic Feature Pyramid Networks, arXiv:1901.02446, section 3.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsperception.data.clips import ClipFrame
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError

IGNORED = 255
"""Value of pixels without a label."""


def partial_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p(label) over the pixels that have a label.

    logits  (B, C, H, W)   softmax over C
    labels  (B, H, W)      integers below C, or IGNORED

    LAT Eq. 1, summed over the labelled pixels Omega' instead of Omega ("ignore regions over which the loss is not
    computed") and divided by their number, so that an image's weight does not grow with what was annotated; the mean is
    over all images together. No labelled pixel: zero, attached to the graph.
    """
    wanted = labels.long()
    labelled = wanted != IGNORED
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits  # the sum would overflow
    total = functional.cross_entropy(wide, wanted, ignore_index=IGNORED, reduction="sum")
    return total / labelled.sum().clamp(min=1)


def candidate_loss(logits: Tensor, candidates: Tensor) -> Tensor:
    """Mean of -log of the probability that a pixel has one of its candidate classes, over the pixels that have some.

    logits      (B, C, H, W)        softmax over C
    candidates  (B, H, W, C) bool   classes that a pixel may have; all False where nothing is known

    Cour, Sapp, Taskar, "Learning from Partial Labels", JMLR 2011; of one candidate it is the cross-entropy, of all of
    them it is 0. No pixel with candidates: zero, attached to the graph.
    """
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    known = candidates.any(dim=-1)
    pixels = wide.permute(0, 2, 3, 1)[known]
    inside = pixels.masked_fill(~candidates[known], -torch.inf).logsumexp(dim=-1)
    return (pixels.logsumexp(dim=-1) - inside).sum() / known.sum().clamp(min=1)


def semantic_loss(logits: Tensor, classes: Tensor, thing_count: int) -> Tensor:
    """Partial cross-entropy of the semantic branch's logits against maps of class ids.

    logits       (B, 1 + S, h, w)  "a thing", then the S stuff classes; enlarged bilinearly to the maps' size
    classes      (B, H, W)         class ids, things before stuff, or IGNORED
    thing_count                    class ids below are things

    Panoptic FPN: the branch "also outputs a special 'other' class for all pixels belonging to objects".
    """
    enlarged = functional.interpolate(logits, classes.shape[-2:], mode="bilinear", align_corners=False)
    return partial_cross_entropy(enlarged, branch_labels(classes, thing_count))


def branch_labels(classes: Tensor, thing_count: int) -> Tensor:
    """Class ids (...) as channels of the semantic branch: 0 for things, 1, 2, ... for stuff; IGNORED stays."""
    wanted = classes.long()
    return torch.where(wanted == IGNORED, wanted, (wanted - (thing_count - 1)).clamp(min=0))


def given_labels(frame: ClipFrame) -> PanopticLabels:
    """The panoptic labels of a training frame; InputError naming its image where it has none."""
    if frame.panoptic is None:
        raise InputError(f"{frame.source}: expected panoptic labels, got none; see --panoptic")
    return frame.panoptic


def candidate_maps(frames: list[ClipFrame], class_count: int) -> Tensor:
    """(B, h, w, C) bool: the candidates of every pixel of training frames; none where it has a label."""
    maps = []
    for labels in map(given_labels, frames):
        nothing = np.zeros((len(labels.class_ids), class_count), bool)
        maps.append((nothing if labels.candidates is None else labels.candidates)[labels.ids])
    return torch.from_numpy(np.stack(maps))


def semantic_maps(frames: list[ClipFrame]) -> Tensor:
    """(B, h, w) uint8: the class of every pixel of training frames of one size, IGNORED where it is void."""
    return torch.from_numpy(np.stack([given_labels(frame).semantic() for frame in frames]))
