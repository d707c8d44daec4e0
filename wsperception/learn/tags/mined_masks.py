"""What mining found becomes supervision for masks (JTSM, section 3.4): targets of the two segmentation branches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from wsperception.learn import mil
from wsperception.learn.detection import mask_targets
from wsperception.learn.semantic import IGNORED
from wsperception.learn.tags.reestimate import ReestimateSettings, reestimated_mask
from wsperception.nets.segment_set import SegmentSet


@dataclass(frozen=True, eq=False)
class MinedMasks:
    """The best segment of each class of an image, its mask re-estimated, the highest score first.

    boxes    (K, 4)           of the segments
    classes  (K,) int64       index into the label space
    weights  (K,)             y of Eq. 9: score of the class in the image
    masks    (K, H, W) bool
    """

    boxes: Tensor
    classes: Tensor
    weights: Tensor
    masks: Tensor

    def select(self, rows: Tensor) -> "MinedMasks":
        """Those at `rows`, in that order."""
        return MinedMasks(self.boxes[rows], self.classes[rows], self.weights[rows], self.masks[rows])


@torch.no_grad()
def mined_masks(
    image: np.ndarray, segments: SegmentSet, scores: Tensor, tags: Tensor, image_scores: Tensor,
    settings: ReestimateSettings,
) -> MinedMasks:  # fmt: skip
    """Masks of the classes of an image's tags.

    image         (H, W, 3) uint8 RGB
    scores        (P, C)   of the last stage, without background
    image_scores  (C,)

    No tag or no segment gives none.
    """
    seeds = mil.find_seeds(scores, tags)
    chosen = segments.select(seeds.rows)
    masks, boxes = chosen.masks(), chosen.boxes.cpu().numpy()
    drawn = [reestimated_mask(image, mask, box, settings) for mask, box in zip(masks.cpu().numpy(), boxes, strict=True)]
    if drawn:
        masks = torch.from_numpy(np.stack(drawn)).to(masks.device)
    return MinedMasks(chosen.boxes, seeds.classes, image_scores[seeds.classes], masks)


@torch.no_grad()
def instance_rois(boxes: Tensor, seed_boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows (R,) int64 of the `count` boxes (P, 4) closest to each of the seeds (K, 4), and the seed (R,) of each.

    Closest by IoU, as in the released code: masks are learnt on the boxes that detection will give, not on one.
    """
    if len(seed_boxes) == 0:
        empty = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return empty, empty
    closest = box_iou(seed_boxes, boxes).topk(min(count, len(boxes)), dim=1).indices  # (K, count)
    seeds = torch.arange(len(seed_boxes), device=boxes.device)[:, None].expand_as(closest)
    return closest.flatten(), seeds.flatten()


def instance_loss(logits: Tensor, rois: Tensor, seeds: Tensor, mined: MinedMasks) -> Tensor:
    """L_IS: cross-entropy of the map of each RoI's class with its seed's mask, times the class's score in the image.

    logits  (R, T, M, M)   of T thing classes
    rois    (R, 4)
    seeds   (R,) int64     rows of `mined`, all of thing classes

    Eq. 9 is a sum over RoIs of means over cells; this is the mean over RoIs, so that its weight against the other
    losses does not depend on their number. No RoI costs zero, attached to the graph.
    """
    if len(rois) == 0:
        return logits.sum()
    own = logits[torch.arange(len(rois), device=rois.device), mined.classes[seeds]]  # (R, M, M)
    targets = mask_targets(mined.masks, seeds, rois)
    cells = functional.binary_cross_entropy_with_logits(own, targets, reduction="none")
    return (mined.weights[seeds] * cells.mean(dim=(1, 2))).mean()


def semantic_labels(mined: MinedMasks, size: tuple[int, int]) -> Tensor:
    """Class ids (H, W) int64 of the pixels that a mask claims, IGNORED elsewhere; the highest score wins."""
    labels = torch.full(size, IGNORED, device=mined.classes.device)
    for class_id, mask in zip(mined.classes.flip(0), mined.masks.flip(0), strict=True):
        labels[mask] = class_id
    return labels
