"""Masks of a mean teacher: what the moving average of the network sees in the true boxes, where it can be trusted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wsperception.learn.weak_masks.mask_rois import row_iou
from wsperception.nets.heads import mask_boxes
from wsperception.nets.perception_net import PerceptionNet


@dataclass(frozen=True, eq=False)
class TeacherMasks:
    """Masks over N true boxes.

    masks    (N, M, M) float32    foreground probability, on a grid over `extents`
    extents  (N, 4)
    weights  (N,) float32         in [0, 1]; 0 for a mask that is refused
    """

    masks: Tensor
    extents: Tensor
    weights: Tensor


@torch.no_grad()
def teacher_masks(
    teacher: PerceptionNet, images: Tensor, boxes: Tensor, classes: Tensor, frame_of: Tensor, min_iou: float
) -> TeacherMasks:
    """The teacher's masks of true boxes (N, 4), and how far each is to be trusted.

    images    (B, h, w, 3)
    classes   (N,) int64    index into the label space
    frame_of  (N,) int64    the image of each box
    min_iou   a mask is refused where its tight box has a lower IoU with the true box

    The weight is the probability of the class times the mean foreground probability of the mask. After the idea of
    BoxTeacher (arXiv:2210.05174), simplified; a moving average as teacher: arXiv:1703.01780.
    """
    settings = teacher.settings
    pyramid = teacher.pyramid(images)
    logits, _ = teacher.box(teacher.pool(pyramid, boxes, frame_of))
    scores = logits.float().softmax(dim=1).gather(1, classes[:, None] + 1)[:, 0]
    extents = mask_boxes(boxes, settings.mask_context)
    features = teacher.pool(pyramid, extents, frame_of, settings.mask_sampling)
    index = torch.arange(len(boxes), device=boxes.device)
    masks = teacher.mask(features)[index, classes].float().sigmoid()
    return TeacherMasks(masks, extents, scores * mask_quality(masks, extents, boxes, min_iou))


def mask_quality(masks: Tensor, extents: Tensor, boxes: Tensor, min_iou: float) -> Tensor:
    """Mean foreground probability (N,) of masks (N, M, M) over extents (N, 4); 0 where a mask does not fit its box.

    A mask fits where the tight box of its cells of probability 0.5 and more has an IoU of at least `min_iou` with the
    true box (N, 4). An empty mask does not fit.
    """
    foreground = masks >= 0.5
    cells = foreground.sum(dim=(1, 2))
    mean = (masks * foreground).sum(dim=(1, 2)) / cells.clamp(min=1)
    return torch.where(row_iou(_tight_boxes(foreground, extents), boxes) >= min_iou, mean, torch.zeros_like(mean))


def _tight_boxes(foreground: Tensor, extents: Tensor) -> Tensor:
    """Tight boxes (N, 4) of the true cells of (N, M, M) grids over extents (N, 4); empty where there is none."""
    side = foreground.shape[-1]
    edges = []
    for dimension in (1, 2):  # columns, then rows
        hit = foreground.any(dim=dimension).to(extents.dtype)  # (N, M)
        steps = torch.arange(side, device=extents.device, dtype=extents.dtype)
        first = torch.where(hit > 0, steps, side).amin(dim=1)
        last = torch.where(hit > 0, steps + 1, 0).amax(dim=1)
        edges.append((first, torch.maximum(last, first)))
    size = (extents[:, 2:] - extents[:, :2]) / side
    (x0, x1), (y0, y1) = edges
    low = extents[:, :2] + torch.stack([x0, y0], dim=1) * size
    high = extents[:, :2] + torch.stack([x1, y1], dim=1) * size
    return torch.cat([low, high], dim=1)
