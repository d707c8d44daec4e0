"""The masks of one image as WISE finds them, and as the baselines of its Table 1 do."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from wsperception.data.labelled_points import mask_middle
from wsperception.data.segments import Segments
from wsperception.learn.points import grouping
from wsperception.learn.points.affinity import background
from wsperception.learn.points.lcfcn import Peaks, find_blobs, find_peaks, point_pixels
from wsperception.learn.points.peak_responses import response_peaks
from wsperception.nets.wise_net import WiseNet, upsampled

WISE, UNREFINED, BLOBS, BEST, ORACLE = "wise", "unrefined", "blobs", "best", "oracle"
TRUE_MASK, TRUE_POINTS = "true-mask", "true-points"
PRM = "prm"
"""Of a net whose places were learnt from tags: the peaks of its responses with E-Net's masks (Table 1: PRM + E-Net)."""
KINDS = (WISE, UNREFINED, BLOBS, BEST, ORACLE, TRUE_MASK, TRUE_POINTS)
"""Whose masks: L-Net's points with E-Net's masks (Table 1: WISE); the same before the replacement by proposals; with
L-Net's blobs; with the likeliest proposal; with the proposal nearest to the truth; with the true mask; and the true
points with E-Net's masks."""


@runtime_checkable
class Judging(Protocol):
    """A network that has learnt which proposals look like objects."""

    def judged(self, image: np.ndarray, segments: Segments) -> Segments:
        """The proposals of an image (h, w, 3) uint8 RGB with what was learnt in their objectness."""


@dataclass(frozen=True, eq=False)
class Maps:
    """What a WiseNet says about every pixel of one image.

    probabilities  (C + 1, h, w) float32   channel 0 is background
    embeddings     (h, w, d) float32
    responses      (C, h', w') float32     the logits of the classes, at the net's own stride
    judged                                 proposals of the image -> the same with what the net has learnt of them
    """

    probabilities: np.ndarray
    embeddings: np.ndarray
    responses: np.ndarray
    judged: Callable[[Segments], Segments]


@dataclass(frozen=True, eq=False)
class FoundMasks:
    """Masks (N, h, w) bool, which may overlap, with class ids (N,) int64 and scores (N,) float32."""

    masks: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray


@torch.no_grad()
def read_maps(net: WiseNet, image: np.ndarray) -> Maps:
    """The maps of an image (h, w, 3) uint8 RGB whose sides are divisible by 32."""
    logits, embeddings = net(torch.from_numpy(image)[None].to(net.mean.device))
    size = (image.shape[0], image.shape[1])
    probabilities = upsampled(logits.float(), size)[0].softmax(dim=0)
    pixels = upsampled(embeddings.float(), size)[0].permute(1, 2, 0)
    responses = logits[0, 1:].float().cpu().numpy()
    judged = partial(net.judged, image) if isinstance(net, Judging) else _as_they_are
    return Maps(probabilities.cpu().numpy(), np.ascontiguousarray(pixels.cpu().numpy()), responses, judged)


def find_masks(
    kind: str, maps: Maps, segments: Segments, true_masks: np.ndarray, true_classes: np.ndarray
) -> FoundMasks:
    """The masks of an image.

    kind          one of KINDS, or PRM
    true_masks    (G, h, w) bool   read by ORACLE, TRUE_MASK and TRUE_POINTS only
    true_classes  (G,) int64       read by TRUE_POINTS only
    """
    if kind == TRUE_POINTS:
        middles = np.array([mask_middle(mask) for mask in true_masks], np.float32).reshape(-1, 2)
        pixels = point_pixels(middles, (true_masks.shape[1], true_masks.shape[2]))
        return masks_of_points(maps, segments, pixels, true_classes)
    if kind == PRM:
        size = (maps.embeddings.shape[0], maps.embeddings.shape[1])
        peaks = response_peaks(torch.from_numpy(maps.responses), size)
        return _scored(masks_of_points(maps, segments, peaks.pixels, peaks.class_ids), peaks)
    blobs = find_blobs(maps.probabilities)
    peaks = find_peaks(maps.probabilities, blobs)
    if kind == WISE:
        return _scored(masks_of_points(maps, segments, peaks.pixels, peaks.class_ids), peaks)
    masks = _masks(kind, maps, maps.judged(segments), peaks, grouping.blob_masks(blobs), true_masks)
    return FoundMasks(masks, peaks.class_ids, peaks.scores)


def masks_of_points(maps: Maps, segments: Segments, pixels: np.ndarray, class_ids: np.ndarray) -> FoundMasks:
    """E-Net's masks, replaced by proposals, of objects of known pixels (N, 2) and classes (N,).

    The paper says nothing of how sure a mask is. Here the score is the agreement (Jaccard index) of the mask with the
    proposal that replaces it.
    """
    segments = maps.judged(segments)
    grouped = _grouped(maps, segments, pixels)
    refined = grouping.refined_masks(segments, grouped)
    return FoundMasks(refined, class_ids, grouping.agreements(grouped, refined))


def _masks(
    kind: str, maps: Maps, segments: Segments, peaks: Peaks, blobs: np.ndarray, true_masks: np.ndarray
) -> np.ndarray:
    if kind == BLOBS:
        return blobs
    if kind == BEST:
        return grouping.segment_masks(segments, grouping.likeliest_segments(segments, peaks.pixels))
    if kind == ORACLE:
        return grouping.segment_masks(segments, grouping.oracle_segments(segments, peaks.pixels, true_masks))
    if kind == TRUE_MASK:
        return grouping.masks_at(peaks.pixels, true_masks, blobs)
    return _grouped(maps, segments, peaks.pixels)


def _scored(found: FoundMasks, peaks: Peaks) -> FoundMasks:
    """The masks of peaks, as sure as both the place and the mask."""
    return replace(found, scores=found.scores * peaks.scores)


def _grouped(maps: Maps, segments: Segments, pixels: np.ndarray) -> np.ndarray:
    free = background(segments, grouping.likeliest_segments(segments, pixels))
    behind = grouping.background_pixels(maps.embeddings, free, len(pixels))
    return grouping.grouped_masks(maps.embeddings, pixels, behind)


def _as_they_are(segments: Segments) -> Segments:
    return segments
