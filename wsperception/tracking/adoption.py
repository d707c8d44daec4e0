"""The last question before a track begins: is one missing nearby?

Two tracks next to each other, one that has just lost its object and one that has just begun, are most often one object
whose box jumped: it came closer faster than a constant velocity says, only a part of it came out from behind another,
or it was seen once and its velocity was not known yet. Overlap is blind to all three; distance is not.
"""

import numpy as np

from wsperception.geometry import box_areas
from wsperception.tracking import motion as kalman
from wsperception.tracking.full_tracks import FullTracks
from wsperception.tracking.motion import Motion

SIZE_COST = 0.25
"""Cost of a width or a height that differs by a factor e; from a cost of 1 on two boxes are two objects."""
DOUBT_COST = 2.0
"""Costs grow by this share where a score is 0; a false detection beside a real one must not inherit its track."""
HIDDEN = 0.3
"""A track is hidden where one nearer object covers this share of the box predicted."""
STAMP_JITTER_S = 5e-4
"""Stamps jitter: so much more or less is still the time asked for."""
VICINITY = 2.0
"""A track missing within so many sides makes a new one wait for its id,"""
PATIENCE = 2.0
"""which it then gets when it has been seen for so many times as long as others."""


def missing(tracks: FullTracks, free: np.ndarray, longest_s: float) -> np.ndarray:
    """(M,) rows of the tracks among those `free` (T,) bool that were seen up to `longest_s` ago, not in this frame."""
    unseen_s = (tracks.stamp_ns - tracks.last_ns) / 1e9
    rows: np.ndarray = (free & (unseen_s > 0) & (unseen_s <= longest_s + STAMP_JITTER_S)).nonzero()[0]
    return rows


def hidden(absent: Motion, boxes: np.ndarray) -> np.ndarray:
    """(M,) bool: whether one of the objects found, `boxes` (N, 4) corners, lies over a track's prediction.

    It does where it covers HIDDEN of the box and reaches further down in the image: what stands on the ground nearer to
    the camera does. One of them may be the object itself, of which more is found than the sliver that was seen last.
    """
    places = kalman.corners(absent.position)
    low, high = np.maximum(places[:, None, :2], boxes[:, :2]), np.minimum(places[:, None, 2:], boxes[:, 2:])
    extent = np.maximum(high - low, 0.0)  # (M, N, 2)
    covered = extent[..., 0] * extent[..., 1] >= HIDDEN * np.maximum(box_areas(places), 1e-6)[:, None]
    covered &= boxes[:, 3] > places[:, None, 3]
    return np.asarray(covered.any(axis=1))


def closeness(
    absent: FullTracks,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    scores: np.ndarray,
    image_size: tuple[int, int],
    reach: np.ndarray,
) -> np.ndarray:
    """(M, N) float32 in [0, 1]: how well each detection (N) continues each absent track; 0: it does not.

    absent  M tracks, predicted to this frame
    boxes   (N, 4) corners, class_ids (N,), scores (N,)
    reach   (M,) greatest distance, in sides of the track's box (the root of its area)

    Distance is that of the centres or of the nearest pair of like edges, whichever is less, for each axis on its own:
    what is partly hidden keeps one edge of two. A side that the image's border cuts is taken from the prediction.
    No outside paper; why each part is there says benchmarks/tracking.
    """
    result = np.zeros((len(absent), len(boxes)), np.float32)
    rows, columns = (absent.class_ids[:, None] == class_ids).nonzero()
    position = absent.motion.position[rows]  # (P, 4)
    places = kalman.corners(position)
    whole = kalman.completed(boxes[columns], places, image_size)
    seen = kalman.centred(whole)
    edges = np.abs(whole - places)
    gaps = np.minimum(np.abs(seen[:, :2] - position[:, :2]), np.minimum(edges[:, :2], edges[:, 2:]))  # (P, 2)
    far = np.hypot(gaps[:, 0], gaps[:, 1]) / np.maximum(sides(position) * reach[rows], 1e-6)
    resized = np.abs(np.log(seen[:, 2:] / position[:, 2:])).sum(axis=1)
    doubt = DOUBT_COST * ((1.0 - scores[columns]) + (1.0 - absent.scores[rows]))
    result[rows, columns] = np.maximum(1.0 - (far + SIZE_COST * resized) * (1.0 + doubt), 0.0)
    return result


def beside(absent: FullTracks, boxes: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """(N,) bool: detections (N, 4) of class_ids (N,) with one of the `absent` tracks in their VICINITY."""
    gaps = kalman.centred(boxes)[None, :, :2] - absent.motion.position[:, None, :2]  # (M, N, 2)
    near = np.hypot(gaps[..., 0], gaps[..., 1]) < VICINITY * sides(absent.motion.position)[:, None]
    near &= absent.class_ids[:, None] == class_ids[None, :]
    return np.asarray(near.any(axis=0))


def sides(position: np.ndarray) -> np.ndarray:
    """(M,) the side of a square as large as each centred box (M, 4)."""
    return np.asarray(np.sqrt(position[:, 2] * position[:, 3]))
