from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("torch")

from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.learn.panoptic.candidates import possible_classes, with_candidates
from wsperception.types import VOID

CAR, PERSON, ROAD, SKY = range(4)
IS_THING = (True, True, False, False)


def frame_of(boxes: list[list[float]], classes: list[int]) -> LabelledFrame:
    kept = np.array(boxes, np.float32).reshape(-1, 4)
    ids = np.arange(len(classes))
    return LabelledFrame(
        Path("a.png"), 0, 0, kept, np.array(classes, np.int64), ids, None, np.zeros((0, 4), np.float32)
    )


def labels_of(ids: np.ndarray, class_ids: list[int]) -> PanopticLabels:
    rows = np.arange(len(class_ids) + 1)
    classes = np.array([VOID, *class_ids], np.int32)
    return PanopticLabels("hand", ids.astype(np.uint16), classes, np.zeros(len(rows), bool), np.float32(rows > 0))


def test_possible_classes_by_hand() -> None:
    # Two crops of 2 x 2. The left shows a car and road: the car is possible in its box alone, columns 1 and 2, although
    # the right crop is not tagged with it; the tag adds nothing. Nobody has a box of a person.
    crops = np.array([[0, 0, 2, 2], [2, 0, 4, 2]])
    shown = np.array([[True, True, True, False], [False, False, True, True]])
    possible = possible_classes((2, 4), (crops, shown), frame_of([[1.0, 0.0, 3.0, 1.0]], [CAR]), IS_THING)
    assert possible[CAR].tolist() == [[False, True, True, False], [False] * 4]
    assert not possible[PERSON].any()
    assert possible[ROAD].all()
    assert possible[SKY].tolist() == [[False, False, True, True]] * 2


def test_void_pixels_with_one_set_share_a_row() -> None:
    labels = labels_of(np.array([[1, 0, 0], [2, 0, 0]]), [CAR, ROAD])
    possible = np.zeros((4, 2, 3), bool)
    possible[ROAD] = True
    possible[SKY, :, 2] = True
    found = with_candidates(labels, possible)
    assert found.ids[:, 0].tolist() == [1, 2]
    assert found.ids[0, 1] == found.ids[1, 1] != found.ids[0, 2] == found.ids[1, 2]
    assert found.class_ids.tolist() == [VOID, CAR, ROAD, VOID, VOID]
    assert found.candidates is not None
    assert found.candidates[found.ids[0, 1]].tolist() == [False, False, True, False]
    assert found.candidates[found.ids[0, 2]].tolist() == [False, False, True, True]
    assert not found.candidates[:3].any()
    assert np.array_equal(found.semantic(), labels.semantic())


@given(
    arrays.arrays(np.bool_, st.tuples(st.integers(1, 70), st.just(3), st.just(5))),
    arrays.arrays(np.uint16, (3, 5), elements=st.integers(0, 1)),
)
def test_every_void_pixel_keeps_its_own_set(possible: np.ndarray, ids: np.ndarray) -> None:
    found = with_candidates(labels_of(ids, [0]), possible)
    assert found.candidates is not None
    assert np.array_equal(found.ids[ids == 1], ids[ids == 1])
    void = ids == 0
    assert np.array_equal(found.candidates[found.ids[void]], possible[:, void].T)
    assert len(np.unique(found.ids[void])) == len(np.unique(possible[:, void], axis=1).T)


def test_more_classes_than_a_number_has_bits() -> None:
    # Of 130 classes two pixels differ in the first alone, a third in the last.
    possible = np.zeros((130, 1, 3), bool)
    possible[0, 0, 0] = possible[129, 0, 2] = True
    found = with_candidates(labels_of(np.zeros((1, 3)), []), possible)
    assert found.candidates is not None
    assert [np.flatnonzero(found.candidates[row]).tolist() for row in found.ids[0]] == [[0], [], [129]]


def test_candidates_have_a_row_for_each_row() -> None:
    labels = labels_of(np.array([[1, 2]]), [CAR, ROAD])
    with pytest.raises(InputError, match=r"hand: candidates: expected \(3, classes\) bool, got bool \(2, 4\)"):
        replace(labels, candidates=np.zeros((2, 4), bool))
