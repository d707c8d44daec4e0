"""The full association: masks decide where boxes cannot."""

import numpy as np
from stories import SIZE, detections, full

from wsperception.tracking import Tracker
from wsperception.types import Instances


def test_masks_decide_where_boxes_cannot():
    # Two boxes on the same place; one object fills their left half, the other the right one. They are listed the
    # other way round in the second frame: only the label map knows.
    def frame(swapped: bool) -> tuple[Instances, np.ndarray]:
        ids = np.zeros(SIZE, np.uint16)
        ids[20:60, 50:70], ids[20:60, 70:90] = (2, 1) if swapped else (1, 2)
        box = [50.0, 20.0, 90.0, 60.0]
        return detections([box, box], scores=[0.9, 0.9]), ids

    tracker = Tracker(full(mask_weight=1.0))
    first, ids = frame(False)
    assert tracker.update(first, 0, ids).tolist() == [1, 2]
    second, ids = frame(True)
    assert tracker.update(second, 10**8, ids).tolist() == [2, 1]


def test_masks_do_not_decide_where_the_place_is_unsure():
    # Two boxes, one above the other by a sixth of their side; seen once, the tracks may have moved by a third of it.
    # The label map says they swapped, boxes say they did not: masks of full weight win, of the weight they earn lose.
    def frame(swapped: bool) -> tuple[Instances, np.ndarray]:
        ids = np.zeros(SIZE, np.uint16)
        ids[20:67, 50:70], ids[20:67, 70:90] = (2, 1) if swapped else (1, 2)
        return detections([[50.0, 20.0, 90.0, 60.0], [50.0, 27.0, 90.0, 67.0]], scores=[0.96, 0.96]), ids

    def ids_of(doubt: float) -> list[int]:
        tracker = Tracker(full(mask_weight=1.0, mask_doubt=doubt))
        first, ids = frame(False)
        tracker.update(first, 0, ids)
        second, ids = frame(True)
        return tracker.update(second, 10**8, ids).tolist()

    assert ids_of(1e3) == [2, 1]
    assert ids_of(0.05) == [1, 2]
