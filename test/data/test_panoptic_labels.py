"""The one type of panoptic labels: what it refuses, and the label map it is made from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wsperception.data.panoptic_labels import PanopticLabels, relabelled
from wsperception.errors import InputError
from wsperception.types import SegmentMap


def labels(ids: list[list[int]], class_ids: list[int], crowd: list[bool] | None = None) -> PanopticLabels:
    rows = len(class_ids)
    is_crowd = np.array([False] * rows if crowd is None else crowd, bool)
    return PanopticLabels(
        "one", np.array(ids, np.uint16), np.array(class_ids, np.int32), is_crowd, np.ones(rows, np.float32)
    )


def test_semantic_map_by_hand():
    found = labels([[0, 1, 1], [2, 3, 0]], [-1, 7, 4, 7])
    assert found.semantic().tolist() == [[255, 7, 7], [4, 7, 255]]
    assert len(found) == 3


def test_segments_of_a_pipeline():
    segments = SegmentMap(
        np.array([[0, 1]], np.uint16), np.array([-1, 2], np.int32), np.array([0, 0.75], np.float32),
        np.array([0, 9], np.int32), np.zeros((2, 4), np.float32),
    )  # fmt: skip
    found = PanopticLabels.of_segments("frame", segments)
    assert (found.class_ids.tolist(), found.scores.tolist()) == ([-1, 2], [0, 0.75])
    assert found.is_crowd.tolist() == [False, False]


@pytest.mark.parametrize(
    ("ids", "class_ids", "crowd", "text"),
    [
        ([[0, 2]], [-1, 3], None, "one: ids: expected values below 2 rows, got 2"),
        ([[0]], [0], None, "one: class_ids: expected row 0 to be void"),
        ([[0]], [-1, -1], None, "one: class_ids: expected row 0 to be void and all others to have a class"),
        ([[0]], [], None, "one: class_ids: expected row 0 to be void"),
        ([[0]], [-1, 1], [False], r"one: is_crowd: expected \(2,\) bool, got bool \(1,\)"),
    ],
)
def test_what_it_refuses(ids, class_ids, crowd, text):
    with pytest.raises(InputError, match=text):
        labels(ids, class_ids, crowd)


def test_the_label_map_has_one_type():
    with pytest.raises(InputError, match=r"one: ids: expected \(H, W\) uint16, got int64 \(1, 1\)"):
        PanopticLabels(
            "one", np.zeros((1, 1), np.int64), np.array([-1], np.int32), np.zeros(1, bool), np.ones(1, np.float32)
        )


@given(npst.arrays(np.uint32, st.tuples(st.integers(0, 6), st.integers(0, 6)), elements=st.integers(0, 5)))
def test_rows_and_numbers_give_the_image_back(values):
    values = values * 70_001  # numbers beyond 16 bits
    ids, numbers = relabelled(values, "image")
    assert ids.dtype == np.uint16
    assert numbers[0] == 0
    assert (np.diff(numbers.astype(np.int64)) > 0).all()
    assert (numbers[ids] == values).all()
    assert set(numbers.tolist()) == {0, *values.ravel().tolist()}


def test_too_many_segments():
    with pytest.raises(InputError, match=r"big\.png: expected at most 65535 segments in an image, got 65536"):
        relabelled(np.arange(1, 65537, dtype=np.uint32).reshape(256, 256), "big.png")
    ids, numbers = relabelled(np.arange(1, 65536, dtype=np.uint32)[None], "full")
    assert (ids.max(), len(numbers)) == (65535, 65536)
