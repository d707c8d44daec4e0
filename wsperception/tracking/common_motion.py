"""How far everything has moved beyond its prediction: a turning camera, seen in the detections alone.

A robot that begins to turn moves all boxes by the same few dozen pixels. Small boxes then lie on their neighbours'
predictions, and every association by overlap hands the ids down the row. No image is needed to see it: pairs of
tracks and detections of like shape vote for the shift between them, and the true shift gets a vote from every object.
"""

import numpy as np

from wsperception.geometry import box_iou
from wsperception.tracking.motion import Motion

BIN = 6.0
"""Width of a bin of the vote, in pixels of an image 1242 wide."""
REFERENCE_WIDTH = 1242.0
FITTING = 0.65
"""Overlap from which a track counts as being where it was expected."""
FEWEST = 3
"""Objects that must agree on a shift."""
FARTHEST = 0.1
"""Greatest shift considered, as share of the image's width; sideways only."""
ADVANTAGE = 1.2
"""A shift needs this many times the overlap that no shift gives."""


def common_shift(
    places: np.ndarray,
    classes: np.ndarray,
    boxes: np.ndarray,
    found_classes: np.ndarray,
    image_width: int,
) -> np.ndarray:
    """(2,) float64 pixels by which the tracks' predictions have to be moved; zeros where nothing speaks for a shift.

    places         (T, 4) predicted boxes
    classes        (T,) class ids
    boxes          (N, 4) detections
    found_classes  (N,) class ids

    The shift found is the one with most votes; it counts only where it raises the overlap of boxes, summed over the
    tracks, by ADVANTAGE, and at least FEWEST tracks overlap better. Where half of the tracks fit as they are, none is
    looked for.
    """
    nothing = np.zeros(2)
    if len(places) < FEWEST or len(boxes) < FEWEST:
        return nothing
    same = classes[:, None] == found_classes[None, :]
    still = _best_overlap(places, boxes, same)
    if np.count_nonzero(still >= FITTING) * 2 >= len(still):
        return nothing  # most are where they were expected: the usual frame, and nothing more is computed
    gaps, weights = _votes(places, classes, boxes, found_classes)
    width = BIN * image_width / REFERENCE_WIDTH
    reach = int(np.ceil(FARTHEST * image_width / width))
    bins = np.rint(gaps[..., 0] / width).astype(np.int64)
    inside = (np.abs(bins) <= reach) & (weights > 0)
    if not inside.any():
        return nothing
    votes = np.bincount(bins[inside] + reach, weights[inside], minlength=2 * reach + 1)
    smooth = np.convolve(votes, (0.5, 1.0, 0.5), mode="same")
    best = (int(smooth.argmax()) - reach) * width
    near = (np.abs(gaps[..., 0] - best) <= 1.5 * width) & (weights > 0)
    if near.any(axis=1).sum() < FEWEST:
        return nothing
    shift = _median(gaps[near])
    shifted = _best_overlap(places + np.concatenate([shift, shift]), boxes, same)
    better = (shifted > still).sum() >= FEWEST and shifted.sum() > ADVANTAGE * still.sum()
    return shift if better else nothing


def shared_velocity(motion: Motion, usable: np.ndarray) -> np.ndarray:
    """(4,) float64 velocity that a new object most likely has: what the others have in common.

    usable  (T,) bool: tracks that are old enough to know their velocity

    The median of the others, taken back the more they differ; zero with fewer than FEWEST. Sides: always zero.
    """
    velocity = np.zeros(4)
    if usable.sum() < FEWEST:
        return velocity
    known = motion.velocity[usable, :2]
    middle = _median(known)
    scatter = 1.5 * _median(np.abs(known - middle))
    velocity[:2] = middle * middle**2 / np.maximum(middle**2 + scatter**2, 1e-9)
    return velocity


def _votes(
    places: np.ndarray, classes: np.ndarray, boxes: np.ndarray, found_classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps (T, N, 2) between centres, and how much each pair's vote weighs (T, N): like shape, like height."""
    centre, side = (places[:, :2] + places[:, 2:]) / 2, np.maximum(places[:, 2:] - places[:, :2], 1.0)
    middle, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    gaps = (middle[None] - centre[:, None]).astype(np.float64)
    unlike = np.abs(np.log(extent[None] / side[:, None])).sum(axis=2)  # (T, N)
    unlike += 2.0 * np.abs(gaps[..., 1]) / side[:, None, 1]
    weights = np.maximum(1.0 - unlike, 0.0) * (classes[:, None] == found_classes[None, :])
    return gaps, weights


def _median(values: np.ndarray) -> np.ndarray:
    """(K,) medians of the columns of (M, K) float64, M >= 1; numpy's own takes ten times as long on so few."""
    ranked = np.sort(values, axis=0)
    return np.asarray((ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2.0)


def _best_overlap(places: np.ndarray, boxes: np.ndarray, same: np.ndarray) -> np.ndarray:
    """(T,) greatest IoU of each track with a detection of its class."""
    best: np.ndarray = (box_iou(places, boxes) * same).max(axis=1)
    return best
