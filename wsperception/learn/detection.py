"""Losses of proposals, boxes and masks: each a pure function of one frame's tensors.

Faster R-CNN (arXiv:1506.01497, Eq. 1) and Mask R-CNN (arXiv:1703.06870, section 3).
Every loss of nothing is zero yet attached to the graph, so that distributed training sees every parameter.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from wsperception.nets import anchors
from wsperception.nets.heads import MASK_SIDE
from wsperception.nets.perception_net import BOX_WEIGHTS, RPN_WEIGHTS


def proposal_losses(
    objectness: Tensor, deltas: Tensor, references: Tensor, matches: Tensor, boxes: Tensor, rows: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss over the sampled anchors of one frame.

    objectness (A,) logits; deltas (A, 4); references (A, 4) anchors; matches (A,) row of `boxes` (N, 4) or negative;
    rows: sampled positive and negative anchor rows. Both are divided by the number of samples.
    """
    positives, negatives = rows
    sampled = torch.cat([positives, negatives])
    if len(sampled) == 0:
        return objectness.sum() * 0.0, deltas.sum() * 0.0
    labels = torch.zeros(len(sampled), device=objectness.device)
    labels[: len(positives)] = 1.0
    objectness_loss = functional.binary_cross_entropy_with_logits(objectness[sampled], labels)
    targets = anchors.encode(boxes[matches[positives]], references[positives], RPN_WEIGHTS)
    box_loss = functional.smooth_l1_loss(deltas[positives], targets, beta=1.0 / 9, reduction="sum") / len(sampled)
    return objectness_loss, box_loss


def box_losses(logits: Tensor, deltas: Tensor, rois: Tensor, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Class and box loss of the sampled RoIs of one frame.

    logits (R, C + 1), background first; deltas (R, C + 1, 4); rois (R, 4); classes (R,) int64, 0 = background;
    boxes (R, 4): the ground truth of each RoI, unused for background. Both are means over the R RoIs.
    """
    if len(rois) == 0:
        return logits.sum() * 0.0, deltas.sum() * 0.0
    class_loss = functional.cross_entropy(logits, classes)
    positives = torch.nonzero(classes > 0).flatten()
    targets = anchors.encode(boxes[positives], rois[positives], BOX_WEIGHTS)
    chosen = deltas[positives, classes[positives]]
    box_loss = functional.smooth_l1_loss(chosen, targets, beta=1.0 / 9, reduction="sum") / len(rois)
    return class_loss, box_loss


def mask_targets(masks: Tensor, rows: Tensor, rois: Tensor) -> Tensor:
    """Ground-truth masks (N, h, w) seen through RoIs (R, 4): (R, M, M) in {0, 1}; rows (R,) says whose mask."""
    return (mask_shares(masks, rows, rois) >= 0.5).float()


def mask_shares(masks: Tensor, rows: Tensor, rois: Tensor) -> Tensor:
    """Which share (R, M, M) of each cell of RoIs (R, 4) a mask covers; masks (N, h, w), rows (R,) says whose."""
    if len(rois) == 0:
        return rois.new_zeros((0, MASK_SIDE, MASK_SIDE), dtype=torch.float32)
    indexed = torch.cat([rows[:, None].to(rois.dtype), rois], dim=1)
    crops: Tensor = roi_align(masks[:, None].float(), indexed, (MASK_SIDE, MASK_SIDE), 1.0, -1, True)
    return crops[:, 0]


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of mask logits (R, M, M) of the true class against targets (R, M, M); mean over RoIs."""
    if len(logits) == 0:
        return logits.sum() * 0.0
    return functional.binary_cross_entropy_with_logits(logits, targets)
