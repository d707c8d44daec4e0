"""The detections of a frame as the full association needs them."""

from dataclasses import dataclass

import numpy as np

from wsperception.tracking import terms
from wsperception.types import Instances

NO_LABELS = np.zeros((0, 0), np.uint16)
"""Stands for a label map where there is none."""


@dataclass(frozen=True, eq=False)
class Found:
    """The detections of a frame as the association needs them, N of them, in an order of their own.

    scores, class_ids, boxes, embeddings as in Instances; shapes (N, CELLS, CELLS) bool. label_map (H, W), all_boxes and
    all_shapes keep the order of the frame, `order` (N,) leads from here to there.
    """

    scores: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    embeddings: np.ndarray
    shapes: np.ndarray
    label_map: np.ndarray
    all_boxes: np.ndarray
    all_shapes: np.ndarray
    order: np.ndarray
    image_size: tuple[int, int]


def found_in(instances: Instances, label_map: np.ndarray) -> Found:
    """The detections by falling score, then by place: so their order in the frame cannot matter."""
    boxes = instances.boxes
    order = np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -instances.scores))
    nothing = np.zeros((len(boxes), terms.CELLS, terms.CELLS), bool)
    shapes = terms.silhouettes(label_map, boxes) if label_map.size else nothing
    return Found(
        instances.scores[order],
        instances.class_ids[order],
        boxes[order],
        instances.embeddings[order],
        shapes[order],
        label_map,
        boxes,
        shapes,
        order,
        instances.image_size,
    )
