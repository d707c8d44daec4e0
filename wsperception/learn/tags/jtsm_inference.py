"""What a trained JtsmNet sees in an image: disjoint segments of things and stuff (JTSM, sections 3.2 and 4.1)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms

from wsperception.decode import StuffMap
from wsperception.fusion import FusionSettings, fill_with_stuff
from wsperception.learn import mil
from wsperception.learn.tags.box_regression import regressed
from wsperception.learn.tags.community_inference import painted
from wsperception.learn.tags.segmented_image import SegmentedImage, resized_segments
from wsperception.learn.tags.tagged_image import mirrored
from wsperception.learn.tags.views import ViewSettings
from wsperception.nets.jtsm_net import JtsmNet, Mined
from wsperception.settings import setting
from wsperception.types import VOID, SegmentMap


@dataclass(frozen=True)
class InferenceSettings(ViewSettings):
    """Defaults are section 4.1's; thresholds of the merge are the released code's."""

    scales: tuple[int, ...] = setting(
        (480, 576, 688, 864, 1200), "shorter sides of the image; the results are averaged", unit="px", low=16, high=4096
    )
    nms: float = setting(0.5, "IoU of boxes above which a thing of the same class is suppressed", low=0.0, high=1.0)
    min_score: float = setting(0.5, "score from which on a segment is shown", low=0.0, high=1.0)
    overlap: float = setting(0.5, "share of a thing that better ones may hide", low=0.0, high=1.0)
    stuff_area: int = setting(4096, "stuff classes that keep fewer pixels become void", unit="px", low=0)
    mask_threshold: float = setting(0.5, "foreground probability from which a pixel is the thing's", low=0.0, high=1.0)


@dataclass(frozen=True, eq=False)
class _View:
    """The image at one scale, perhaps mirrored."""

    features: Tensor  # (F, h, w)
    boxes: Tensor  # (P, 4) in its pixels
    mined: Mined
    size: tuple[int, int]
    flip: bool


@torch.no_grad()
def panoptic_segments(net: JtsmNet, image: SegmentedImage, settings: InferenceSettings) -> SegmentMap:
    """Disjoint segments, things before stuff; the image's tags are looked at where the settings say so.

    Where the network has no instance branch, masks of things are the segments themselves; where it has no semantic
    branch, a pixel is of the stuff class whose best segment on it scores highest. No segment, no things.
    """
    was_training = net.training
    net.eval()
    views = [_view(net, image, scale, flip) for scale, flip in settings.views()]
    net.train(was_training)
    scores = torch.stack([segment_scores(view.mined) for view in views]).mean(dim=0)  # (P, C)
    scores = settings.likely(scores, image.tags)
    rows, classes = _kept(scores[:, : net.thing_count], views[0], settings)
    size = (image.image.shape[0], image.image.shape[1])
    boxes = torch.stack([_moved(view, rows, size) for view in views]).mean(dim=0)
    if net.mask is None:
        masks = image.segments(rows.device).select(rows).masks().cpu().numpy()
    else:
        grids = torch.stack([_mask_grids(net, view, boxes, classes, size) for view in views]).mean(dim=0)
        masks = painted(grids.cpu().numpy(), boxes.cpu().numpy(), size, settings.mask_threshold)
    kept = scores[rows, classes].cpu().numpy()
    things = painted_things(masks, boxes.cpu().numpy(), kept, classes.cpu().numpy(), settings.overlap)
    if net.thing_count == net.class_count:
        return things
    if net.semantic is None:
        stuff = _stuff_of_segments(image, scores[:, net.thing_count :], settings.min_score)
    else:
        stuff = _stuff_of_branch(net, views, size, settings.allowed(image.tags[net.thing_count :]))
    share = min(1.0, settings.stuff_area / (size[0] * size[1]))
    return fill_with_stuff(things, stuff, net.thing_count, FusionSettings(min_stuff_share=share))


def segment_scores(mined: Mined) -> Tensor:
    """Scores (P, C) in [0, 1]: the mean of the refinement heads (section 3.2).

    Without such heads those of the MIL head, which sum to the class's score y in the image over all segments and so say
    nothing against a threshold: they are scaled so that the best segment has y.
    """
    if mined.refined:
        return mil.mean_of_heads(mined.refined)[:, 1:]
    scores = mil.mil_scores(mined.class_logits, mined.segment_logits)
    if len(scores) == 0:
        return scores
    return scores * (mil.image_scores(scores) / scores.amax(dim=0).clamp(min=mil.CLAMP))


def painted_things(
    masks: np.ndarray, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, overlap: float
) -> SegmentMap:
    """Masks (N, H, W) bool in order of falling score, each where no better one is.

    One of which better ones hide more than `overlap` is dropped, and an empty one: Panoptic FPN (arXiv:1901.02446,
    section 3).
    """
    ids = np.zeros(masks.shape[1:], np.uint16)
    kept = []
    for row in np.argsort(-scores, kind="stable"):
        own = masks[row] & (ids == 0)
        if not own.any() or own.sum() < (1.0 - overlap) * masks[row].sum():
            continue
        kept.append(int(row))
        ids[own] = len(kept)
    rows = np.array(kept, np.int64)
    return SegmentMap(
        ids,
        np.append(np.int32(VOID), classes[rows].astype(np.int32)),
        np.append(np.float32(0.0), scores[rows].astype(np.float32)),
        np.zeros(len(rows) + 1, np.int32),
        np.concatenate([np.zeros((1, 4), np.float32), boxes[rows].astype(np.float32)]),
    )


def _view(net: JtsmNet, image: SegmentedImage, scale: int, flip: bool) -> _View:
    device = net.mean.device
    seen = resized_segments(image, scale, flip)
    features = net.features(torch.from_numpy(seen.image).to(device)[None])[0]
    segments = seen.segments(device)
    mined = net.mine(features, segments, torch.from_numpy(seen.objectness).to(device))
    return _View(features, segments.boxes, mined, (seen.image.shape[0], seen.image.shape[1]), flip)


def _kept(scores: Tensor, view: _View, settings: InferenceSettings) -> tuple[Tensor, Tensor]:
    """Rows (N,) and classes (N,) of the segments that show things; a segment may be of several classes."""
    rows, classes = torch.nonzero(scores >= max(settings.min_score, 1e-9), as_tuple=True)
    kept = batched_nms(view.boxes[rows], scores[rows, classes], classes, settings.nms)
    return rows[kept], classes[kept]


def _moved(view: _View, rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) in the image: those of segments, moved by the mean of the heads that do."""
    boxes = view.boxes[rows]
    if view.mined.deltas:
        deltas = torch.stack(view.mined.deltas).mean(dim=0)[rows, None]  # (N, 1, 4)
        boxes = regressed(deltas, boxes, torch.zeros_like(rows), view.size)
    if view.flip:
        boxes = mirrored(boxes, view.size[1])
    return boxes * boxes.new_tensor([size[1] / view.size[1], size[0] / view.size[0]]).repeat(2)


def _mask_grids(net: JtsmNet, view: _View, boxes: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """Foreground probabilities (N, 28, 28) of boxes (N, 4) of the image, as one view sees them, the right way round."""
    seen = boxes * boxes.new_tensor([view.size[1] / size[1], view.size[0] / size[0]]).repeat(2)
    logits = net.mask_logits(view.features, mirrored(seen, view.size[1]) if view.flip else seen)
    grids = logits[torch.arange(len(boxes), device=boxes.device), classes].sigmoid()
    return grids.flip(2) if view.flip else grids


def _stuff_of_branch(net: JtsmNet, views: list[_View], size: tuple[int, int], present: np.ndarray | None) -> StuffMap:
    """The stuff that the branch sees, of the classes that are `present` (S,) bool; None: of all."""
    shares = []
    for view in views:
        logits = net.semantic_logits(view.features[None])
        logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)[0]
        shares.append((logits.flip(2) if view.flip else logits).softmax(dim=0))
    mean = torch.stack(shares).mean(dim=0).cpu().numpy()  # (1 + S, H, W)
    if present is not None:
        mean[1:][~present] = 0.0
    return _stuff_map(mean)


def _stuff_of_segments(image: SegmentedImage, scores: Tensor, min_score: float) -> StuffMap:
    """Scores (P, S) of segments as a map: of each superpixel the best of the segments that hold it."""
    held = torch.from_numpy(image.membership).to(scores.device)
    best = [torch.where(held, column, 0.0).amax(dim=1) if len(column) else held.sum(dim=1) * 0.0 for column in scores.T]
    by_class = torch.stack(best).cpu().numpy()  # (S, superpixels)
    by_class = np.concatenate([np.full((1, by_class.shape[1]), min_score, by_class.dtype), by_class])
    return _stuff_map(by_class[:, image.superpixels])


def _stuff_map(values: np.ndarray) -> StuffMap:
    """The best of channels (1 + S, H, W), 0 for none, and the mean value of each where it is the best."""
    channels = values.argmax(axis=0).astype(np.uint8)
    best = values.max(axis=0)
    counts = np.bincount(channels.ravel(), minlength=len(values))
    sums = np.bincount(channels.ravel(), best.ravel(), minlength=len(values))
    return StuffMap(channels, np.divide(sums, counts, out=np.zeros(len(values)), where=counts > 0).astype(np.float32))
