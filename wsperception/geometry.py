"""Boxes in pixels: x0 y0 x1 y1, x1 and y1 exclusive; pixel (0, 0) covers [0, 1) x [0, 1)."""

import numpy as np


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of `boxes` (N, 4) as (N,), in square pixels; a box with x1 < x0 or y1 < y0 has area 0."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    areas: np.ndarray = sides[:, 0] * sides[:, 1]
    return areas


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes.

    a  (N, 4) float, b  (M, 4) float: x0 y0 x1 y1

    Returns (N, M) float32 in [0, 1]; 0 for a pair of empty boxes. Empty input gives shape (N, M) all the same.
    """
    # One axis at a time: with an (N, M, 2) array of corners 300 x 300 boxes took 20 times as long.
    a, b = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])  # (N, M)
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])  # (N, M)
    overlap = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    union = box_areas(a)[:, None] + box_areas(b)[None, :] - overlap
    iou: np.ndarray = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0.0)
    np.minimum(iou, 1.0, out=iou)
    return iou


def clip_boxes(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """`boxes` (N, 4) cut at the borders of an image of `image_size` (H, W), as new float32 array.

    A box that lies outside altogether becomes an empty one on the border.
    """
    height, width = image_size
    limits = np.array([width, height, width, height], np.float32)
    clipped: np.ndarray = np.minimum(np.maximum(boxes, 0.0), limits).astype(np.float32, copy=False)
    return clipped


def scale_boxes(boxes: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """`boxes` (N, 4) in an image that was resized by `scale_x` and `scale_y`, as new float32 array."""
    factors = np.array([scale_x, scale_y, scale_x, scale_y])
    scaled: np.ndarray = (boxes * factors).astype(np.float32)
    return scaled


def pixel_range(low: float, high: float, size: int) -> tuple[int, int]:
    """First and one past the last pixel whose centre lies in [low, high), within an axis of `size` pixels."""
    first = min(max(int(np.ceil(low - 0.5)), 0), size)
    last = min(max(int(np.ceil(high - 0.5)), first), size)
    return first, last


def tight_boxes(label_map: np.ndarray, rows: int) -> np.ndarray:
    """The smallest box around the pixels of every row of a label map.

    label_map  (H, W) unsigned integer below `rows`: row of each pixel; row 0 is void
    rows       R, number of rows, void included

    Returns (R, 4) float32; zeros for row 0 and for rows without a pixel.
    """
    boxes = np.zeros((rows, 4), np.float32)
    if label_map.size == 0:
        return boxes
    # Work on runs (pieces of a line with one label), a few thousand numbers instead of half a million pixels:
    # 0.3 ms at 375x1242 with 20 objects, where scipy.ndimage.find_objects takes 0.9 ms and np.minimum.at 12 ms.
    height, width = label_map.shape
    flat = label_map.ravel()
    starts = np.union1d(np.flatnonzero(flat[1:] != flat[:-1]) + 1, np.arange(height) * width)
    ends = np.append(starts[1:], flat.size)
    labels = flat[starts]
    kept = labels != 0
    starts, ends, labels = starts[kept], ends[kept], labels[kept]
    if len(labels) == 0:
        return boxes
    order = np.argsort(labels, kind="stable")
    labels, starts, ends = labels[order], starts[order], ends[order]
    first = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    lines, left = np.divmod(starts, width)
    right = left + (ends - starts)
    present = labels[first]
    boxes[present, 0] = np.minimum.reduceat(left, first)
    boxes[present, 1] = np.minimum.reduceat(lines, first)
    boxes[present, 2] = np.maximum.reduceat(right, first)
    boxes[present, 3] = np.maximum.reduceat(lines, first) + 1
    return boxes
