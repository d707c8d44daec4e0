"""From the network's padded outputs to the objects of one image."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.bundle import SEMANTIC_STRIDE
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
    semantic    (1 + S, h/4, w/4) uint8   255 times the probability of "a thing" and of the S stuff classes, over the
                                    network's input; None where the network has no semantic branch
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray
    mask_boxes: np.ndarray
    embeddings: np.ndarray
    semantic: np.ndarray | None = None


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


@dataclass(frozen=True, eq=False)
class StuffMap:
    """What every pixel of an image shows, apart from the objects found.

    channels  (H, W) uint8      0: a thing, whichever; s >= 1: stuff class s - 1
    scores    (1 + S,) float32  mean probability of a channel where it is the most probable one; 0 where it never is
    """

    channels: np.ndarray
    scores: np.ndarray


def decode_stuff(semantic: np.ndarray, letterbox: Letterbox) -> StuffMap:
    """The most probable channel of every pixel of an image, and how sure the network is of each.

    semantic   `RawOutputs.semantic`
    letterbox  how the image was fitted into the network's input

    Probabilities are enlarged bilinearly (align_corners=False), one channel after the other, and the largest wins; of
    equal ones the first. A channel that is nowhere the most probable one of a cell is left out. Scores are taken over
    the cells: LAT section 4.3, "the mean softmax probability of all pixels of the segment".
    """
    rows, columns = (int(np.ceil(side / SEMANTIC_STRIDE)) for side in letterbox.content_size)
    cells, best = _most_probable(enumerate(semantic[:, :rows, :columns]))
    counts = np.bincount(cells.ravel(), minlength=len(semantic))
    totals = np.bincount(cells.ravel(), best.ravel(), len(semantic))
    # One cell more than the content's where there is one, so that the last pixels have both neighbours.
    content = semantic[:, : rows + 1, : columns + 1]
    channels, _ = _most_probable(_enlarged(content, np.flatnonzero(counts).tolist(), letterbox))
    return StuffMap(channels, (totals / np.maximum(counts, 1) / 255.0).astype(np.float32))


def _enlarged(semantic: np.ndarray, channels: list[int], letterbox: Letterbox) -> Iterator[tuple[int, np.ndarray]]:
    """Each of the channels over the pixels of the image (H, W) uint8, in memory that the next one takes."""
    height, width = letterbox.image_size
    steps_x, steps_y = SEMANTIC_STRIDE / letterbox.scale_x, SEMANTIC_STRIDE / letterbox.scale_y  # pixels per cell
    plane: np.ndarray | None = None
    for channel in channels:
        # Given the factors, OpenCV takes them as they are; given the size it would bend them to whole pixels.
        plane = cv2.resize(semantic[channel], None, plane, steps_x, steps_y, cv2.INTER_LINEAR)
        yield channel, plane[:height, :width]


def _most_probable(planes: Iterable[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Number and value (H, W) uint8 of the largest of numbered planes (H, W) uint8, at every pixel.

    Whole passes over one plane after the other: 7 planes of 1242x375 take 2 ms, their enlargement included.
    """
    planes = iter(planes)
    first, plane = next(planes)
    numbers, best, better = np.full(plane.shape, first, np.uint8), plane.copy(), np.empty(plane.shape, np.uint8)
    for number, plane in planes:
        cv2.compare(plane, best, cv2.CMP_GT, dst=better)
        cv2.max(plane, best, dst=best)
        np.copyto(numbers, np.uint8(number), where=better.view(bool))
    return numbers, best


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
