"""Masks of proposals from class activation maps, and what learns from them (Community Learning, section 3.2.2-3.4).

Maps are (R, C + 1, T, T), column 0 of the background; labels (R,) int64 are 0 for background and c + 1 for class c.
Every loss of no proposals is zero yet attached to the graph.
"""

import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn.cam import normalised
from wsperception.learn.mil import BACKGROUND, log_of_other_classes

TARGETS = ("label", "all")


def map_loss(logits: Tensor, labels: Tensor, background: bool) -> Tensor:
    """Binary cross-entropy of softmax scores with one-hot labels, summed over classes, over R (Eq. 7).

    logits      (R, C + 1)   pooled class maps
    background  False: there is no map of the background; its column and its proposals are left out (Table 4)
    """
    if not background:
        rows = labels != BACKGROUND
        logits, labels = logits[rows, 1:], labels[rows] - 1
    if len(logits) == 0:
        return logits.sum()
    target = functional.one_hot(labels, logits.shape[1]).bool()
    return -torch.where(target, logits.log_softmax(dim=1), log_of_other_classes(logits)).sum(dim=1).mean()


def mean_map(maps: list[Tensor]) -> Tensor:
    """The mean (R, C + 1, T, T) of maps of several levels, each brought to [0, 1] by its own range (section 3.2.2).

    A map without contrast becomes 0.
    """
    return torch.stack([normalised(part.flatten(0, 1), "range").unflatten(0, part.shape[:2]) for part in maps]).mean(0)


def pseudo_masks(mean: Tensor, threshold: float) -> Tensor:
    """What the segmentation module learns, bool like `mean`: where the map is above xi (Eq. 1)."""
    return mean > threshold


def segmentation_loss(logits: Tensor, masks: Tensor, labels: Tensor, targets: str) -> Tensor:
    """Binary cross-entropy of mask logits with pseudo masks, a mean over cells and proposals (Eq. 9).

    logits   (R, C + 1, T, T)
    masks    (R, C + 1, T, T) bool
    targets  "label": the map of each proposal's own class, background proposals left out, as section 3.2.3 describes it
             and inference uses it. "all": the sum over all C + 1 maps, as Eq. 9 prints; the map of a class that the
             proposal does not show reaches from 0 to 1 all the same.

    Eq. 9 is a sum over proposals, which we divide by their number as Eq. 7 does.
    """
    if targets == "label":
        rows = torch.nonzero(labels != BACKGROUND).flatten()
        logits, masks = logits[rows, labels[rows], None], masks[rows, labels[rows], None]
    if len(logits) == 0:
        return logits.sum()
    cells = functional.binary_cross_entropy_with_logits(logits, masks.to(logits.dtype), reduction="none")
    return cells.mean(dim=(2, 3)).sum(dim=1).mean()


def ensemble(maps: Tensor, logits: Tensor | None, labels: Tensor) -> Tensor:
    """Soft masks (R, T, T) of the classes `labels`: the mean of map and segmentation, (M + S) / 2 of Eq. 10.

    maps    (R, C + 1, T, T)           of `mean_map`
    logits  (R, C + 1, T, T) or None   of the segmentation module; None: the maps alone
    """
    rows = torch.arange(len(labels), device=labels.device)
    chosen = maps[rows, labels]
    return chosen if logits is None else (chosen + logits[rows, labels].sigmoid()) / 2.0
