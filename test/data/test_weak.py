"""Weak labels made of full ones, by hand."""

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.data.weak import weaken
from wsperception.types import LabelSpace

SPACE = LabelSpace(("car", "pedestrian", "cyclist", "road"), (True, True, True, False))


def test_by_hand():
    # Row 1 a pedestrian of 5 x 3 pixels, row 2 road, row 3 a crowd of cars, row 4 a car of one pixel, row 5 empty.
    ids = np.zeros((8, 10), np.uint16)
    ids[1:4, 2:7] = 1
    ids[5:] = 2
    ids[5, 8:10] = 3
    ids[0, 9] = 4
    crowd = np.array([False, False, False, True, False, False])
    labels = PanopticLabels("hand", ids, np.array([-1, 1, 3, 0, 0, 2], np.int32), crowd, np.ones(6, np.float32))
    weak = weaken(labels, SPACE)
    assert weak.tags.tolist() == [True, True, False, True]
    assert weak.boxes.tolist() == [[2, 1, 7, 4], [9, 0, 10, 1]]
    assert weak.box_classes.tolist() == [1, 0]
    # Row 2 of the pedestrian, columns 3 to 5 are equally far from its border: the first, its centre at x 3.5, y 2.5.
    assert weak.points.tolist() == [[3.5, 2.5], [9.5, 0.5]]
    assert weak.point_classes.tolist() == [1, 0]
    assert weak.ignore_boxes.tolist() == [[8, 5, 10, 6]]


def test_nothing_there():
    one = np.ones(1, np.float32)
    labels = PanopticLabels("void", np.zeros((4, 5), np.uint16), np.array([-1], np.int32), np.zeros(1, bool), one)
    weak = weaken(labels, SPACE)
    assert weak.tags.tolist() == [False] * 4
    assert [weak.boxes.shape, weak.points.shape, weak.ignore_boxes.shape] == [(0, 4), (0, 2), (0, 4)]
