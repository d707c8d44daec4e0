"""From the network's padded outputs to the objects of one image."""

from dataclasses import dataclass

import numpy as np

from wsperception.geometry import clip_boxes
from wsperception.preprocess import Letterbox
from wsperception.types import Instances

MIN_SIDE = 1.0
"""Boxes less wide or high than this, in image pixels after clipping, are dropped."""

FARTHEST = 1e6
"""Coordinates beyond this are nonsense; up to it float32 resolves a tenth of a pixel."""


@dataclass(frozen=True, eq=False)
class RawOutputs:
    """What the network gives for one image: D rows, padded with rows of score 0. May view the backend's memory.

    boxes       (D, 4) float32      x0 y0 x1 y1 in network-input pixels
    scores      (D,) float32
    class_ids   (D,) int32
    masks       (D, M, M) float32   probability of the row's own class
    mask_boxes  (D, 4) float32      extent of the mask grid in network-input pixels
    embeddings  (D, E) float32      unit length
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray
    mask_boxes: np.ndarray
    embeddings: np.ndarray


def decode(raw: RawOutputs, letterbox: Letterbox, min_score: float, classes: int | None = None) -> Instances:
    """The objects of an image, in its own pixels, in the network's order.

    raw        outputs for the image
    letterbox  how the image was fitted into the network's input
    min_score  in (0, 1]: rows below are dropped
    classes    C, number of classes; None: any class id >= 0 is accepted

    Boxes are clipped at the image's borders; those with a side below MIN_SIDE are dropped, and so are broken rows (see
    `broken_rows`): a robot goes on. All arrays are copies. Nothing found gives N = 0.
    """
    kept = np.flatnonzero((raw.scores >= min_score) & ~broken_rows(raw, min_score, classes))
    boxes = clip_boxes(letterbox.to_image(raw.boxes[kept]), letterbox.image_size)
    large = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(axis=1)
    kept, boxes = kept[large], boxes[large]
    embeddings = raw.embeddings[kept]
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Instances(
        boxes,
        letterbox.to_image(raw.mask_boxes[kept]),
        # Half precision engines leave [0, 1] and unit length by rounding.
        np.clip(raw.masks[kept], 0.0, 1.0),
        np.minimum(raw.scores[kept], 1.0),
        raw.class_ids[kept],
        embeddings / np.maximum(lengths, 1e-12),
        letterbox.image_size,
    )


def broken_rows(raw: RawOutputs, min_score: float, classes: int | None = None) -> np.ndarray:
    """Rows (D,) bool that count as detections but cannot be used.

    A detection has a score >= `min_score` or NaN. Broken means: a value is not finite, a box lies a million pixels
    away or runs backwards, the mask grid has no extent, the embedding is zero, or the class id lies outside of
    [0, `classes`).
    """
    broken = np.zeros(len(raw.scores), bool)
    found = np.flatnonzero(~(raw.scores < min_score))
    finite = np.isfinite(raw.scores[found])
    for values in (raw.boxes, raw.mask_boxes, raw.masks, raw.embeddings):
        finite &= np.isfinite(values[found]).all(axis=tuple(range(1, values.ndim)))
    boxes, grids, class_ids = raw.boxes[found], raw.mask_boxes[found], raw.class_ids[found]
    usable = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1) & (grids[:, 2:] > grids[:, :2]).all(axis=1)
    usable &= (np.abs(boxes) < FARTHEST).all(axis=1) & (np.abs(grids) < FARTHEST).all(axis=1)
    usable &= (np.abs(raw.embeddings[found]) > 1e-6).any(axis=1) & (class_ids >= 0)
    if classes is not None:
        usable &= class_ids < classes
    broken[found] = ~(finite & usable)
    return broken
