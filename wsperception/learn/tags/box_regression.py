"""Box regression towards pseudo boxes, one regressor for all classes (Community Learning, Eq. 5 and 14)."""

import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn import sampling
from wsperception.nets import anchors
from wsperception.nets.perception_net import BOX_WEIGHTS

WEIGHTS = BOX_WEIGHTS
"""Scales of the offsets of Eq. 14. The paper prints none, but follows Fast R-CNN (section 3.3.1), which brings them to
unit variance. Unscaled they are near 0.1 and cost a hundredth: the features would learn nothing from them."""


def regression_loss(deltas: Tensor, boxes: Tensor, pseudo_boxes: Tensor, classes: Tensor, iou: float) -> Tensor:
    """Smooth L1 between the offsets of proposals and those to their pseudo boxes, summed, over R (Eq. 5).

    deltas        (R, K, 4)   K = 1: one for all classes; K = C: one per class, of which the pseudo box's learns
    boxes         (R, 4)      of the proposals
    pseudo_boxes  (G, 4)      and their `classes` (G,)
    iou           from which on a proposal is paired with the pseudo box that it overlaps most; others cost nothing

    No proposal and no pseudo box cost zero, attached to the graph.
    """
    matches = sampling.match(boxes, pseudo_boxes, iou, iou, best_always=False)
    rows = torch.nonzero(matches >= 0).flatten()
    if len(rows) == 0:
        return deltas.sum() * 0.0
    targets = anchors.encode(pseudo_boxes[matches[rows]], boxes[rows], WEIGHTS)
    columns = classes[matches[rows]] if deltas.shape[1] > 1 else torch.zeros_like(rows)
    return functional.smooth_l1_loss(deltas[rows, columns], targets, reduction="sum") / len(boxes)


def regressed(deltas: Tensor, boxes: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (R, 4) after regression, cut at the borders of an image of `size` (h, w).

    deltas  (R, K, 4); K = 0 leaves the boxes as they are; K = C takes those of `classes` (R,)
    """
    if deltas.shape[1] == 0:
        return boxes
    columns = classes if deltas.shape[1] > 1 else torch.zeros_like(classes)
    chosen = deltas[torch.arange(len(boxes), device=boxes.device), columns]
    return anchors.clip(anchors.decode(chosen, boxes, WEIGHTS), size)
