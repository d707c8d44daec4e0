"""From full labels to weak ones: what an annotator would have given had only tags, boxes or points been asked for."""

import numpy as np

from wsperception.data.labelled_points import mask_middle
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.geometry import tight_boxes
from wsperception.types import LabelSpace, WeakLabels


def weaken(labels: PanopticLabels, space: LabelSpace) -> WeakLabels:
    """Tags of all classes, and of every thing its tight box and its middle, in the order of the rows.

    Tags name every class that has a pixel, things, crowds and stuff alike. A crowd gives neither box nor point but an
    ignore box. Points are pixel centres, the farthest from the object's border. No id: panoptic labels have none.
    """
    present = np.flatnonzero(np.bincount(labels.ids.ravel(), minlength=len(labels.class_ids)))
    present = present[present > 0]
    tags = np.zeros(len(space), np.bool_)
    tags[labels.class_ids[present]] = True
    is_thing = np.array(space.is_thing)[labels.class_ids[present]]
    crowds, things = present[labels.is_crowd[present]], present[is_thing & ~labels.is_crowd[present]]
    boxes = tight_boxes(labels.ids, len(labels.class_ids))
    points = [_middle(labels.ids, row, boxes[row]) for row in things.tolist()]
    class_ids = labels.class_ids[things]
    return WeakLabels(
        tags=tags,
        boxes=boxes[things],
        box_classes=class_ids,
        points=np.array(points, np.float32).reshape(-1, 2),
        point_classes=class_ids,
        ignore_boxes=boxes[crowds],
    )


def _middle(ids: np.ndarray, row: int, box: np.ndarray) -> tuple[float, float]:
    """x y of the middle of a row's pixels; looked for inside its box only, for an image may hold many rows."""
    x0, y0, x1, y1 = box.astype(int).tolist()
    x, y = mask_middle(ids[y0:y1, x0:x1] == row)
    return x + x0, y + y0
