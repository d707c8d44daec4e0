"""Boxes: hand-worked overlaps, properties, and tight boxes against the obvious way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wsperception.geometry import box_areas, box_iou, clip_boxes, pixel_range, scale_boxes, tight_boxes

SEEDS = st.integers(0, 2**32 - 1)


def random_boxes(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, 80, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0, 50, (count, 2))], axis=1).astype(np.float32)


def test_box_iou_by_hand():
    # a0 is 4 x 6 = 24. b0 is 5 x 3 = 15 and shares 2 x 3 = 6 with it: 6 / (24 + 15 - 6) = 2/11. a1 ends before b0.
    # b1 = a0: 1. b2 touches the right side of a0: 0. a1 is 2 x 5 = 10 and shares 1 x 4 = 4 with b1: 4 / 30.
    a = np.array([[1, 1, 5, 7], [0, 0, 2, 5]], np.float32)
    b = np.array([[3, 1, 8, 4], [1, 1, 5, 7], [5, 1, 9, 7]], np.float32)
    expected = [[2 / 11, 1.0, 0.0], [0.0, 4 / 30, 0.0]]
    assert box_iou(a, b) == pytest.approx(np.array(expected))
    assert box_iou(a, b).dtype == np.float32


def test_box_iou_of_empty_boxes_and_no_boxes():
    point = np.array([[3, 3, 3, 3]], np.float32)
    backwards = np.array([[9, 9, 3, 3]], np.float32)
    square = np.array([[0, 0, 10, 10]], np.float32)
    assert box_iou(point, point).tolist() == [[0.0]]
    assert box_iou(point, square).tolist() == [[0.0]]
    assert box_iou(backwards, square).tolist() == [[0.0]]
    assert box_iou(np.zeros((0, 4), np.float32), square).shape == (0, 1)
    assert box_iou(square, np.zeros((0, 4), np.float32)).shape == (1, 0)


@run_settings(derandomize=True, deadline=None, database=None)
@given(SEEDS, st.floats(0.1, 50.0), st.floats(-100, 100))
def test_box_iou_properties(seed, scale, shift):
    a, b = random_boxes(seed, 5), random_boxes(seed + 1, 3)
    iou = box_iou(a, b)
    assert ((iou >= 0) & (iou <= 1)).all()
    assert (iou == box_iou(b, a).T).all()
    assert np.diag(box_iou(a, a)) == pytest.approx(1.0)
    assert box_iou(a * np.float32(scale), b * np.float32(scale)) == pytest.approx(iou, abs=1e-3)
    assert box_iou(a + np.float32(shift), b + np.float32(shift)) == pytest.approx(iou, abs=1e-3)


def test_box_areas():
    assert box_areas(np.array([[1, 2, 4, 9], [5, 5, 3, 9]], np.float32)).tolist() == [21.0, 0.0]


def test_clip_boxes_by_hand():
    boxes = np.array([[-5, 3, 7, 40], [100, 100, 120, 130], [2, -9, 4, -3]], np.float32)
    clipped = clip_boxes(boxes, (30, 50))
    assert clipped.tolist() == [[0, 3, 7, 30], [50, 30, 50, 30], [2, 0, 4, 0]]
    assert boxes[0, 0] == -5  # the argument is left alone


def test_scale_boxes_scales_each_axis_by_its_own_factor():
    assert scale_boxes(np.array([[1, 2, 3, 4]], np.float32), 10.0, 0.5).tolist() == [[10, 1, 30, 2]]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 4.0, (0, 4)),  # centres 0.5 to 3.5
        (0.5, 3.5, (0, 3)),  # 0.5 is inside, 3.5 is not
        (0.51, 3.51, (1, 4)),
        (-7.0, 99.0, (0, 10)),
        (2.6, 3.4, (3, 3)),  # no centre inside: empty
        (12.0, 15.0, (10, 10)),
        (-5.0, -2.0, (0, 0)),
    ],
)
def test_pixel_range(low, high, expected):
    first, last = pixel_range(low, high, 10)
    assert (first, last) == expected
    inside = [x for x in range(10) if low <= x + 0.5 < high]
    assert list(range(first, last)) == inside


def test_tight_boxes_by_hand():
    # Row 2 is in two pieces and reaches the right border, where the next line starts with row 2 again.
    ids = np.array([[0, 1, 1, 0, 2], [2, 1, 0, 0, 0], [0, 0, 0, 4, 0]], np.uint16)
    boxes = tight_boxes(ids, 6)
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[0, 0, 0, 0], [1, 0, 3, 2], [0, 0, 5, 2], [0, 0, 0, 0], [3, 2, 4, 3], [0, 0, 0, 0]]


def test_tight_boxes_of_nothing():
    assert tight_boxes(np.zeros((4, 5), np.uint16), 3).tolist() == [[0] * 4] * 3
    assert tight_boxes(np.zeros((0, 5), np.uint16), 1).tolist() == [[0] * 4]
    assert tight_boxes(np.ones((3, 7), np.uint16), 2)[1].tolist() == [0, 0, 7, 3]


@run_settings(derandomize=True, deadline=None, database=None)
@given(
    arrays.arrays(np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4)),
    st.booleans(),
)
def test_tight_boxes_equal_the_obvious_way(ids, transposed):
    ids = ids.T if transposed else ids
    boxes = tight_boxes(ids, 5)
    for row in range(1, 5):
        lines, columns = np.nonzero(ids == row)
        expected = [columns.min(), lines.min(), columns.max() + 1, lines.max() + 1] if len(lines) else [0] * 4
        assert boxes[row].tolist() == expected
