"""What a trained CommunityNet finds in an image: boxes, and masks from two modules together (section 3.4)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from wsperception.fusion import sample_grid
from wsperception.geometry import pixel_range
from wsperception.learn.mil import mean_of_heads
from wsperception.learn.proposals.segments import Proposals
from wsperception.learn.tags.box_regression import regressed
from wsperception.learn.tags.class_maps import ensemble, mean_map
from wsperception.learn.tags.tagged_image import TaggedImage, mirrored, resized
from wsperception.learn.tags.views import ViewSettings
from wsperception.nets.community_net import CommunityNet
from wsperception.settings import setting


@dataclass(frozen=True)
class InferenceSettings(ViewSettings):
    """Defaults are section 4.1's; the paper sets no limit on scores and numbers."""

    nms: float = setting(0.3, "IoU above which a detection of the same class is suppressed", low=0.0, high=1.0)
    min_score: float = setting(0.001, "scores below are dropped", low=0.0, high=1.0)
    detections: int = setting(100, "detections of an image at most", low=1, high=1000)
    mask_threshold: float = setting(0.4, "xi of Eq. 10", low=0.0, high=1.0)


@dataclass(frozen=True, eq=False)
class FoundInstances:
    """Instances of one image, the best first.

    boxes      (N, 4) float32
    scores     (N,) float32
    class_ids  (N,) int64
    masks      (N, H, W) bool   may overlap; all of the box where the network has no class maps
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True, eq=False)
class _View:
    """The image at one scale, perhaps mirrored: its features, its size, and how to come there and back."""

    levels: list[Tensor]
    boxes: Tensor  # (P, 4) proposals
    size: tuple[int, int]
    scale: Tensor  # (4,) from pixels of the image to those of the view
    flip: bool

    def there(self, boxes: Tensor) -> Tensor:
        scaled = boxes * self.scale
        return mirrored(scaled, self.size[1]) if self.flip else scaled

    def back(self, boxes: Tensor) -> Tensor:
        return (mirrored(boxes, self.size[1]) if self.flip else boxes) / self.scale


@torch.no_grad()
def find_instances(net: CommunityNet, image: TaggedImage, settings: InferenceSettings) -> FoundInstances:
    """Instances of an image; its tags are looked at where the settings say so. No proposals give none."""
    if len(image.boxes) == 0:
        return FoundInstances(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64),
            np.zeros((0, *image.image.shape[:2]), bool),
        )  # fmt: skip
    views = [_view(net, image, scale, flip) for scale, flip in settings.views()]
    boxes, scores, classes = _detections(net, views, image.tags, settings)
    size = (image.image.shape[0], image.image.shape[1])
    if net.settings.cams:
        grids = torch.stack([_soft_masks(net, view, boxes, classes) for view in views]).mean(dim=0)
    else:
        grids = boxes.new_ones((len(boxes), 1, 1))
    found = boxes.cpu().numpy()
    masks = painted(grids.cpu().numpy(), found, size, settings.mask_threshold)
    return FoundInstances(found, scores.cpu().numpy(), classes.cpu().numpy(), masks)


def painted(grids: np.ndarray, boxes: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Masks (N, H, W) bool of soft masks (N, T, T) over boxes (N, 4): bilinear, above `threshold`, inside the box."""
    masks = np.zeros((len(grids), *size), bool)
    for mask, grid, (x0, y0, x1, y1) in zip(masks, grids, boxes.astype(np.float64), strict=True):
        left, right = pixel_range(x0, x1, size[1])
        top, bottom = pixel_range(y0, y1, size[0])
        if left < right and top < bottom:
            x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
            values = sample_grid(grid.astype(np.float32), np.array([x0, y0, x1, y1]), x, y)
            mask[top:bottom, left:right] = values > threshold
    return masks


def replaced_by_proposals(found: FoundInstances, proposals: Proposals) -> FoundInstances:
    """Each mask replaced by the segment that it overlaps most (section 3.4); boxes stay.

    A mask that meets no segment stays, as all do where there are none.
    """
    if len(proposals) == 0 or len(found.masks) == 0:
        return found
    parts, flat = len(proposals.membership), proposals.superpixels.ravel()
    pixels = np.stack([np.bincount(flat[mask.ravel()], minlength=parts) for mask in found.masks])  # (N, S)
    common = pixels.astype(np.float64) @ proposals.membership  # (N, P)
    union = found.masks.sum(axis=(1, 2))[:, None] + proposals.areas[None] - common
    overlaps = common / np.maximum(union, 1.0)
    best = overlaps.argmax(axis=1)
    met = overlaps.max(axis=1) > 0.0
    segments = np.stack([proposals.mask(int(row)) for row in best])
    masks = np.where(met[:, None, None], segments, found.masks)
    return replace(found, masks=masks)


def _view(net: CommunityNet, image: TaggedImage, scale: int, flip: bool) -> _View:
    device = net.mean.device
    seen = resized(image, scale, flip)
    height, width = seen.image.shape[:2]
    across, down = width / image.image.shape[1], height / image.image.shape[0]
    levels = net.levels(torch.from_numpy(seen.image).to(device))
    factors = torch.tensor([across, down, across, down], device=device)
    return _View(levels, torch.from_numpy(seen.boxes).to(device), (height, width), factors, flip)


def _detections(
    net: CommunityNet, views: list[_View], tags: np.ndarray, settings: InferenceSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4) in the image, scores (N,) and classes (N,), the best first.

    A proposal is of the class with its highest score, background aside: what is background has low scores anyway.
    """
    outputs = [net.detect(net.proposal_features(view.levels, view.boxes)) for view in views]
    scores = torch.stack([mean_of_heads(part.heads)[:, 1:] for part in outputs]).mean(dim=0)
    scores = settings.likely(scores, tags)
    best, classes = scores.max(dim=1)
    placed = [
        view.back(regressed(part.deltas, view.boxes, classes, view.size))
        for view, part in zip(views, outputs, strict=True)
    ]
    boxes = torch.stack(placed).mean(dim=0)
    solid = ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(dim=1)
    rows = torch.nonzero(solid & (best > settings.min_score)).flatten()
    rows = rows[batched_nms(boxes[rows], best[rows], classes[rows], settings.nms)[: settings.detections]]
    return boxes[rows], best[rows], classes[rows]


def _soft_masks(net: CommunityNet, view: _View, boxes: Tensor, classes: Tensor) -> Tensor:
    """Soft masks (N, T, T) of detections, as one view sees them, the right way round."""
    seen = view.there(boxes)
    features = net.proposal_features(view.levels, seen)
    maps = mean_map(net.class_maps(view.levels, seen, features))
    logits = None if net.segmentation is None else net.masks(features)
    grids = ensemble(maps, logits, classes + 1)
    return grids.flip(2) if view.flip else grids
