"""From points and embeddings to masks: WISE at test time (Laradji et al., section 3.3), and the baselines of Table 1.

`pixels` (N, 2) int64 are row and column of the points, `embeddings` (h, w, d) float32 those of every pixel.
"""

import numpy as np

from wsperception.data.segments import Segments
from wsperception.learn.points.lcfcn import Blobs

ROUNDS = 10
"""Of k-means; on maps of 96 x 320 the centres have stopped moving by then."""
TRUST = 1 / 8
"""Power of a segment's objectness beside the Jaccard index. The paper goes by the index alone: its proposals are a
thousand that a network took for objects. Among thousands of unions of superpixels one that leaks may overlap best."""


def grouped_masks(embeddings: np.ndarray, pixels: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """(N, h, w) bool: the pixels that are more similar (Eq. 2) to a point than to every other and to `behind`.

    behind  (K, 2) int64 row, column   pixels that stand for the background

    The similarity falls with the distance of the embeddings, so the nearest one is the most similar. The masks are
    disjoint; among equals the first point wins, and every point before the background.
    """
    seeds = np.concatenate([pixels, behind])
    if len(pixels) == 0:
        return np.zeros((0, *embeddings.shape[:2]), bool)
    centres = embeddings[seeds[:, 0], seeds[:, 1]]  # (N + K, d)
    nearest = (
        _squared(embeddings.reshape(-1, embeddings.shape[2]), centres).argmin(axis=1).reshape(embeddings.shape[:2])
    )
    masks: np.ndarray = nearest[None] == np.arange(len(pixels))[:, None, None]
    return masks


def background_pixels(embeddings: np.ndarray, free: np.ndarray, count: int) -> np.ndarray:
    """(K, 2) int64 row and column of the pixel nearest to each of `count` centres of k-means over the `free` pixels.

    free  (h, w) bool   the background, as `affinity.background` gives it

    The first centre is the free pixel nearest to their mean, each further one the pixel farthest from all before, so
    that there is no chance in it. K is smaller than `count` where centres share their pixel or fewer pixels are free.
    """
    places = np.flatnonzero(free)
    if len(places) == 0 or count == 0:
        return np.zeros((0, 2), np.int64)
    values = embeddings.reshape(-1, embeddings.shape[2])[places].astype(np.float32)  # (F, d)
    centres = values[_spread(values, min(count, len(values)))]
    for _ in range(ROUNDS):
        owned = _squared(values, centres).argmin(axis=1) == np.arange(len(centres))[:, None]  # (K, F)
        sizes = owned.sum(axis=1)[:, None]
        centres = np.where(sizes > 0, owned.astype(np.float32) @ values / np.maximum(sizes, 1), centres)
    chosen = np.unique(_squared(values, centres).argmin(axis=0))
    return np.stack(np.divmod(places[chosen], free.shape[1]), axis=1)


def best_overlapping(segments: Segments, masks: np.ndarray) -> np.ndarray:
    """(N,) int64: for each of masks (N, h, w) bool the segment of the highest product of Jaccard index and
    objectness ** TRUST; -1 for a mask that no segment overlaps.

    Among equals the one of highest objectness.
    """
    best = np.full(len(masks), -1, np.int64)
    if len(segments) == 0:
        return best
    overlaps = segment_overlaps(segments, masks) * np.maximum(segments.objectness, 1e-12) ** TRUST
    met = overlaps.max(axis=1) > 0
    best[met] = overlaps[met].argmax(axis=1)
    return best


def segment_overlaps(segments: Segments, masks: np.ndarray) -> np.ndarray:
    """(N, P) float64 Jaccard index of masks (N, h, w) bool with every segment; 0 where both are empty."""
    rows, members = segments.rows(), segments.members().astype(np.float64)
    count = len(members)
    areas = np.bincount(rows.ravel(), minlength=count) @ members  # (P,)
    parts = np.array([np.bincount(rows[mask], minlength=count) for mask in masks]).reshape(-1, count)
    common = parts @ members  # (N, P)
    union = parts.sum(axis=1)[:, None] + areas - common
    overlaps: np.ndarray = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def refined_masks(segments: Segments, masks: np.ndarray) -> np.ndarray:
    """Masks (N, h, w) bool, each replaced by the segment that overlaps it best; an empty one stays empty."""
    return segment_masks(segments, best_overlapping(segments, masks))


def agreements(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) float32 Jaccard index of each of masks (N, h, w) bool with that of `others` in the same place; 0 where both
    are empty."""
    common = (masks & others).sum(axis=(1, 2))
    union = (masks | others).sum(axis=(1, 2))
    found: np.ndarray = np.divide(common, union, out=np.zeros(len(masks), np.float32), where=union > 0)
    return found


def likeliest_segments(segments: Segments, pixels: np.ndarray) -> np.ndarray:
    """(N,) int64: the segment of highest objectness that holds each pixel; -1 where none does ("best proposal")."""
    odds = np.where(segments.holding(pixels), segments.objectness, -np.inf)  # (N, P)
    if odds.shape[1] == 0:
        return np.full(len(pixels), -1, np.int64)
    return np.where(np.isfinite(odds.max(axis=1)), odds.argmax(axis=1), -1)


def oracle_segments(segments: Segments, pixels: np.ndarray, true_masks: np.ndarray) -> np.ndarray:
    """(N,) int64: of the segments that hold each pixel the one of highest Jaccard index with any true mask (G, h, w).

    -1 where no segment holds the pixel. Table 1's "oracle proposal": how good the proposals would let a method be.
    """
    if len(segments) == 0 or len(true_masks) == 0:
        return likeliest_segments(segments, pixels)
    overlaps = segment_overlaps(segments, true_masks).max(axis=0)  # (P,)
    held = np.where(segments.holding(pixels), overlaps, -1.0)
    return np.where(held.max(axis=1, initial=-1.0) >= 0, held.argmax(axis=1), -1)


def segment_masks(segments: Segments, chosen: np.ndarray) -> np.ndarray:
    """(N, h, w) bool of segments (N,) by number; without a pixel for -1."""
    nothing = np.zeros(segments.superpixels.shape, bool)
    masks = [segments.mask(segment) if segment >= 0 else nothing for segment in chosen.tolist()]
    return np.array(masks, bool).reshape(-1, *nothing.shape)


def masks_at(pixels: np.ndarray, masks: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """(N, h, w) bool: of masks (G, h, w) the first that holds each pixel; `otherwise` (N, h, w) where none does."""
    held = masks[:, pixels[:, 0], pixels[:, 1]]  # (G, N)
    chosen = np.array(otherwise, bool)
    found = held.any(axis=0)
    if found.any():
        chosen[found] = masks[held.argmax(axis=0)[found]]
    return chosen


def blob_masks(blobs: Blobs) -> np.ndarray:
    """(B, h, w) bool."""
    masks: np.ndarray = blobs.labels[None] == np.arange(1, len(blobs) + 1)[:, None, None]
    return masks


def _spread(values: np.ndarray, count: int) -> list[int]:
    """Rows of `count` of values (F, d), each as far as possible from those before."""
    chosen = [int(((values - values.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    nearest = ((values - values[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((values - values[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def _squared(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(F, K) squared distances of values (F, d) from centres (K, d)."""
    squared: np.ndarray = (values**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2.0 * values @ centres.T
    return squared
