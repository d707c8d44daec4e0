"""Terms of the similarity of tracks (T) and detections (N): pure functions, each (T, N) float32 in [0, 1]."""

import numpy as np

from wsperception.geometry import box_areas, box_iou
from wsperception.tracking.motion import SIDE_OF, Motion, centred

CELLS = 8
"""Side of a silhouette: a mask on a coarse grid of its box."""
CENTRES = (np.arange(CELLS) + 0.5) / CELLS


def widened_iou(a: np.ndarray, b: np.ndarray, margin: float) -> np.ndarray:
    """IoU of boxes (T, 4) and (N, 4), each widened by `margin` of its side on every side.

    With a margin, boxes that have just lost touch still compare: small and fast objects, low frame rates.
    """
    return box_iou(_widened(a, margin), _widened(b, margin))


def motion_agreement(motion: Motion, places: np.ndarray, positions: np.ndarray, measurement_noise: float) -> np.ndarray:
    """How well positions (N, 4), centred, fit the prediction: exp(-d/8), d the squared Mahalanobis distance.

    places  (T, 4) the predicted boxes within the image

    d has four degrees of freedom, so the right pair has exp(-1/2) = 0.61 on average.
    """
    side = motion.position[:, SIDE_OF]
    expected = centred(places)
    scale = 1.0 / (motion.spread[0] + (measurement_noise * side) ** 2)  # (T, 4)
    distance = np.zeros((len(side), len(positions)))
    for k in range(4):
        distance += (expected[:, None, k] - positions[None, :, k]) ** 2 * scale[:, None, k]
    agreement: np.ndarray = np.exp(-0.125 * distance).astype(np.float32)
    return agreement


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
    labels = np.where(shapes, _labels_at(label_map, places), 0).reshape(tracks, -1).astype(np.intp)
    labels += np.arange(tracks)[:, None] * (count + 1)
    points = np.bincount(labels.ravel(), minlength=tracks * (count + 1)).reshape(tracks, count + 1)[:, 1:]
    cell = box_areas(places) / CELLS**2  # (T,)
    common = points * cell[:, None]  # (T, N)
    own = shapes.sum(axis=(1, 2)) * cell
    other = found.sum(axis=(1, 2)) * box_areas(boxes) / CELLS**2
    union = own[:, None] + other[None, :] - common
    overlap = np.divide(common, union, out=np.zeros_like(common, np.float64), where=union > 0)
    clipped: np.ndarray = np.clip(overlap, 0.0, 1.0).astype(np.float32)
    return clipped


def likeness(gallery: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """Greatest cosine of each detection's embedding (N, D) with those a track keeps (T, K, D); below 0 counts as 0.

    Unused places of the gallery are zeros. Embeddings of length 1 are all alike and say nothing: ask before.
    """
    tracks, kept, _ = gallery.shape
    cosine = np.zeros((tracks, len(embeddings)), np.float32)
    for k in range(kept):
        # Not `@`: BLAS would start threads, which wait for each other on a busy machine.
        np.maximum(cosine, np.einsum("td,nd->tn", gallery[:, k], embeddings), out=cosine)
    return np.minimum(cosine, 1.0)


def same_size(places: np.ndarray, boxes: np.ndarray, factor: float) -> np.ndarray:
    """(T, N) bool: the areas of the boxes (T, 4) and (N, 4) differ by no more than `factor`."""
    ratio = np.maximum(box_areas(places), 1.0)[:, None] / np.maximum(box_areas(boxes), 1.0)[None, :]
    return np.asarray((ratio <= factor) & (ratio >= 1.0 / factor))


def combined(terms: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """The weighted mean of terms (T, N); terms of weight 0 do not count. At least one weight is above 0."""
    total = sum(weight for weight, _ in terms)
    assert total > 0
    result = np.zeros_like(terms[0][1])
    for weight, term in terms:
        result += np.float32(weight / total) * term
    return result


def contained(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, M) share of each box (N, 4) that lies in each of the others (M, 4)."""
    width = np.minimum(boxes[:, None, 2], others[None, :, 2]) - np.maximum(boxes[:, None, 0], others[None, :, 0])
    height = np.minimum(boxes[:, None, 3], others[None, :, 3]) - np.maximum(boxes[:, None, 1], others[None, :, 1])
    common = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    share: np.ndarray = common / np.maximum(box_areas(boxes), 1e-6)[:, None]
    return share


def _widened(boxes: np.ndarray, margin: float) -> np.ndarray:
    if margin == 0.0:
        return boxes
    extra = margin * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - extra, boxes[:, 2:] + extra], axis=1)


def _labels_at(label_map: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, CELLS, CELLS) labels at the cell centres of each box; 0 outside of the image."""
    height, width = label_map.shape
    x = (boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * CENTRES).astype(np.int64)  # (N, CELLS)
    y = (boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * CENTRES).astype(np.int64)
    inside = ((x >= 0) & (x < width))[:, None, :] & ((y >= 0) & (y < height))[:, :, None]
    labels = label_map[np.clip(y, 0, height - 1)[:, :, None], np.clip(x, 0, width - 1)[:, None, :]]
    return np.where(inside, labels, 0)
