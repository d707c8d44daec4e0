"""Going on with a track that is missing nearby: distances and costs, by hand."""

import math

import numpy as np
import pytest

from wsperception.tracking import adoption
from wsperception.tracking.full_tracks import FullTracks
from wsperception.tracking.gallery import Gallery
from wsperception.tracking.motion import centred, started
from wsperception.tracking.terms import CELLS

SIZE = (100, 300)
PLACE = [40.0, 30.0, 60.0, 35.0]
"""20 x 5 px: a side of 10."""


def tracks(boxes: list[list[float]], scores: list[float], unseen_ms: list[int], classes: list[int]) -> FullTracks:
    """Tracks with ids from 1, predicted to `boxes`."""
    count = len(boxes)
    position = centred(np.array(boxes, np.float32).reshape(count, 4))
    last_ns = 10**9 - np.array(unseen_ms, np.int64) * 10**6
    return FullTracks(
        np.arange(1, count + 1, dtype=np.int32),
        np.array(classes, np.int32),
        started(position, np.zeros(4), 0.05, 3.0),
        last_ns,
        last_ns,
        np.array(scores, np.float32),
        np.zeros((count, CELLS, CELLS), bool),
        Gallery.of(np.ones((count, 1), np.float32), 0, 1),
        10**9,
    )


def close(
    place: list[float], box: list[float], score: float = 1.0, track_score: float = 1.0, of_class: int = 0
) -> float:
    """Closeness of one pair with a reach of two sides."""
    result = adoption.closeness(
        tracks([place], [track_score], [100], [0]),
        np.array([box], np.float32),
        np.array([of_class], np.int32),
        np.array([score], np.float32),
        SIZE,
        np.array([2.0]),
    )
    assert result.dtype == np.float32
    return float(result[0, 0])


def test_distance_in_sides_by_hand():
    # 8 px to the right: 8 / (2 x 10) = 0.4. 6 px down as well: 10 / 20. 24 px are out of reach.
    assert close(PLACE, [48, 30, 68, 35]) == pytest.approx(0.6)
    assert close(PLACE, [48, 36, 68, 41]) == pytest.approx(0.5)
    assert close(PLACE, [64, 30, 84, 35]) == 0.0
    assert close(PLACE, PLACE) == pytest.approx(1.0)
    assert close(PLACE, PLACE, of_class=1) == 0.0


def test_what_is_partly_hidden_keeps_an_edge():
    # The right half is hidden: the left edges lie on each other, the width is a factor of 2 off.
    assert close(PLACE, [40, 30, 50, 35]) == pytest.approx(1.0 - 0.25 * math.log(2))
    # The left part and the lower four fifths are hidden: the upper right corner stays.
    expected = 1.0 - 0.25 * (math.log(4) + math.log(5))
    assert close(PLACE, [55, 30, 60, 31]) == pytest.approx(expected)


def test_what_the_border_cuts_counts_as_whole():
    assert close([-12.0, 30.0, 8.0, 35.0], [0, 30, 8, 35]) == pytest.approx(1.0)
    assert close([285.0, 96.0, 305.0, 101.0], [285, 96, 300, 100]) == pytest.approx(1.0)


def test_doubt_raises_the_cost():
    # 0.4 x (1 + 2 (0.25 + 0.1)) = 0.68.
    assert close(PLACE, [48, 30, 68, 35], 0.75, 0.9) == pytest.approx(0.32)
    assert close(PLACE, [48, 30, 68, 35], 0.5, 0.7) == 0.0


def test_missing_are_those_seen_of_late_but_not_now():
    table = tracks([PLACE] * 4, [1.0] * 4, [0, 300, 300, 400], [0] * 4)
    assert adoption.missing(table, np.array([True, True, False, True]), 0.3).tolist() == [1]
    assert adoption.missing(table, np.ones(4, bool), 0.4).tolist() == [1, 2, 3]


def test_beside_by_hand():
    # 2 sides are 20 px between the centres.
    boxes = np.array([[59, 30, 79, 35], [61, 30, 81, 35], [40, 49, 60, 54], PLACE], np.float32)
    table = tracks([PLACE], [1.0], [100], [0])
    assert adoption.beside(table, boxes, np.array([0, 0, 0, 1], np.int32)).tolist() == [True, False, True, False]


def test_hidden_by_hand():
    # PLACE is 20 x 5 px, 100 in all, and reaches down to 35.
    table = tracks([PLACE, [100, 30, 120, 35]], [1.0] * 2, [500] * 2, [0] * 2)

    def by(*boxes: list[float]) -> list[bool]:
        return adoption.hidden(table.motion, np.array(boxes, np.float32).reshape(-1, 4)).tolist()

    assert by([53, 20, 90, 36]) == [True, False]  # 7 x 5 = 35
    assert by([55, 20, 90, 36]) == [False, False]  # 25
    assert by([53, 31, 90, 36]) == [False, False]  # 7 x 4 = 28
    assert by([30, 20, 70, 35]) == [False, False]  # reaches no further down
    assert by([30, 31, 50, 36], [50, 31, 110, 36]) == [True, True]  # 40, and 40 of each
    assert by([55, 20, 90, 36], [30, 20, 45, 36]) == [False, False]  # 25 each: one alone has to cover it
    assert by() == [False, False]


def test_nothing_is_missing():
    none = tracks([], [], [], [])
    boxes, classes = np.array([PLACE], np.float32), np.zeros(1, np.int32)
    assert adoption.closeness(none, boxes, classes, np.ones(1, np.float32), SIZE, np.zeros(0)).shape == (0, 1)
    assert adoption.beside(none, boxes, classes).tolist() == [False]
    assert adoption.hidden(none.motion, boxes).shape == (0,)
    assert adoption.closeness(
        tracks([PLACE], [1.0], [100], [0]), boxes[:0], classes[:0], np.ones(0, np.float32), SIZE, np.ones(1)
    ).shape == (1, 0)
