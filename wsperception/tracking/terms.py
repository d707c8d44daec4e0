"""Terms of the similarity of tracks (T) and detections (N): pure functions, each float32 in [0, 1].

Those of boxes and masks give (T, N); likeness, which costs most, is asked for the P pairs that can matter.
"""

import numpy as np

from wsperception.geometry import box_areas
from wsperception.tracking.motion import Motion

CELLS = 8
"""Side of a silhouette: a mask on a coarse grid of its box."""
WIDEST = 1.0
"""No box is widened by more than this share of its side, however unsure its place."""
BLOCK = 4096
"""Pairs whose embeddings are gathered at once, so that thousands of objects on one heap need no gigabytes."""
CENTRES = ((np.arange(CELLS) + 0.5) / CELLS).astype(np.float32)


def margins(motion: Motion, deviations: float) -> np.ndarray:
    """(T, 2) by what share of its width and height a box is widened on each side before it is compared.

    So many standard `deviations` of its predicted place, at most WIDEST: the margin grows with the time between frames
    and with every gap, and shrinks as a track gets to know its speed.
    """
    widened: np.ndarray = np.minimum(deviations * _unsureness(motion), WIDEST)
    return widened


def sureness(motion: Motion, doubt: float) -> np.ndarray:
    """(T,) float32 in [0, 1]: what a silhouette laid over the predicted place is worth.

    It is laid amiss by as much as the place is: 1/e where the greater standard deviation of the two, as share of the
    side, is `doubt`. After a gap, at a low frame rate and for a new track boxes, which are widened, know more.
    """
    return np.asarray(np.exp(-_unsureness(motion).max(axis=1) / doubt), np.float32)


def widened_iou(places: np.ndarray, boxes: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """IoU of boxes (T, 4) and (N, 4), both widened by `margin` (T, 2) of their width and height on every side.

    With a margin, boxes that have just lost touch still compare: small and fast objects, low frame rates, gaps.
    Yang et al., "Hard to Track Objects with Irregular Motions", WACV 2023 (buffered IoU), where the margin is fixed.
    """
    # A row per coordinate: rows that lie together in memory take two thirds of the time.
    own, other = np.ascontiguousarray(places.T), np.ascontiguousarray(boxes.T)
    shares = np.ascontiguousarray(margin.T)  # (2, T)
    grown = (shares * (own[2:] - own[:2])).astype(np.float32)
    low, high, extents = own[:2] - grown, own[2:] + grown, other[2:] - other[:2]
    shares = shares.astype(np.float32)
    overlaps = []
    for axis in (0, 1):
        more = shares[axis, :, None] * extents[axis]  # (T, N)
        gap = np.minimum(high[axis, :, None], other[2 + axis] + more)
        gap -= np.maximum(low[axis, :, None], other[axis] - more)
        overlaps.append(np.maximum(gap, 0.0, out=gap))
    common = overlaps[0] * overlaps[1]
    growth = ((1.0 + 2.0 * margin[:, 0]) * (1.0 + 2.0 * margin[:, 1])).astype(np.float32)
    areas = growth[:, None] * (box_areas(places)[:, None] + box_areas(boxes)[None, :])
    areas -= common
    common /= np.maximum(areas, 1e-6, out=areas)
    return np.asarray(np.minimum(common, 1.0, out=common))


def silhouettes(label_map: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, CELLS, CELLS) bool: which cell centres of each box (N, 4) show its own row.

    label_map  (H, W) unsigned integer: row + 1 of the object that a pixel shows
    """
    seen = _labels_at(label_map, boxes) == np.arange(1, len(boxes) + 1)[:, None, None]
    return np.asarray(seen)


def mask_overlap(
    shapes: np.ndarray, places: np.ndarray, label_map: np.ndarray, found: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """IoU of masks: each track's silhouette, laid over its predicted box, against the objects of the label map.

    shapes     (T, CELLS, CELLS) bool   silhouettes of the tracks
    places     (T, 4)                   their predicted boxes
    label_map  (H, W) unsigned integer  row + 1 of the detection that a pixel shows, 0 = none
    found      (N, CELLS, CELLS) bool   silhouettes of the detections
    boxes      (N, 4)                   their boxes

    Estimated from CELLS x CELLS points per track: 30 tracks take 0.05 ms, whatever the size of the image.
    """
    tracks, count = len(shapes), len(boxes)
    labels = (_labels_at(label_map, places) * shapes).reshape(tracks, CELLS**2)
    labels = labels + np.arange(tracks)[:, None] * (count + 1)
    points = np.bincount(labels.ravel(), minlength=tracks * (count + 1)).reshape(tracks, count + 1)[:, 1:]
    cell = box_areas(places) / CELLS**2  # (T,)
    common = points * cell[:, None]  # (T, N)
    own = shapes.sum(axis=(1, 2)) * cell
    other = found.sum(axis=(1, 2)) * box_areas(boxes) / CELLS**2
    union = own[:, None] + other
    union -= common
    common /= np.maximum(union, 1e-9, out=union)
    return np.asarray(np.minimum(common, 1.0, out=common), np.float32)


def likeness(gallery: np.ndarray, embeddings: np.ndarray, tracks: np.ndarray, detections: np.ndarray) -> np.ndarray:
    """(P,) greatest cosine of a detection's embedding with those that a track keeps; below 0 counts as 0.

    gallery     (T, K, D)  unused places are zeros
    embeddings  (N, D)
    tracks      (P,) rows of the gallery, `detections` (P,) rows of the embeddings: the pairs asked for

    Embeddings of length 1 are all alike and say nothing: ask before.
    """
    greatest = np.zeros(len(tracks), np.float32)
    for start in range(0, len(tracks), BLOCK):
        part = slice(start, start + BLOCK)
        # Not `@`: BLAS would start threads, which wait for each other on a busy machine.
        cosine = np.einsum("pkd,pd->pk", gallery[tracks[part]], embeddings[detections[part]])
        greatest[part] = cosine.max(axis=1)
    return np.asarray(np.minimum(np.maximum(greatest, 0.0), 1.0))


def same_size(places: np.ndarray, boxes: np.ndarray, factor: float) -> np.ndarray:
    """(T, N) bool: the areas of the boxes (T, 4) and (N, 4) differ by no more than `factor`."""
    ratio = np.maximum(box_areas(places), 1.0)[:, None] / np.maximum(box_areas(boxes), 1.0)[None, :]
    return np.asarray((ratio <= factor) & (ratio >= 1.0 / factor))


def combined(terms: list[tuple[float | np.ndarray, np.ndarray]]) -> np.ndarray:
    """The weighted mean of P pairs' terms (P,), each with one weight or (P,) of them; no pair has weights of 0 only."""
    if len(terms) == 1:
        return terms[0][1]
    result, total = np.zeros_like(terms[0][1]), np.zeros_like(terms[0][1])
    for weight, term in terms:
        result += weight * term
        total += weight
    result /= total
    return result


def _unsureness(motion: Motion) -> np.ndarray:
    """(T, 2) standard deviation of the place, as share of width and height."""
    return np.asarray(np.sqrt(motion.spread[0, :, :2]) / motion.position[:, 2:])


def _labels_at(label_map: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, CELLS, CELLS) labels at the cell centres of each box; 0 outside of the image."""
    corner = boxes[:, :2, None]
    points = (corner + (boxes[:, 2:, None] - corner) * CENTRES).astype(np.int32)  # (N, 2, CELLS): x, then y
    height, width = label_map.shape
    inside = np.minimum(np.maximum(points, 0), np.array([[width - 1], [height - 1]], np.int32))
    pixels = inside[:, 1, :, None] * np.int32(width) + inside[:, 0, None, :]
    labels: np.ndarray = label_map.ravel().take(pixels)
    known = inside == points
    if not known.all():
        labels *= known[:, 1, :, None] & known[:, 0, None, :]
    return labels
