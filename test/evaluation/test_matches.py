"""Who was found by whom: tracks over time, errors per frame, the choice of the worst frames."""

import numpy as np

from wsperception.evaluation.matches import MISSED, FrameErrors, frame_errors, track_rows, worst_frames
from wsperception.evaluation.mots import MotsScores
from wsperception.evaluation.mots_frames import EXCEEDED, REACHED, ClassFrames, match


def frames_of(*entries: tuple[list[int], list[int], list[list[float]]], ignored: int | None = None) -> ClassFrames:
    """Frames 10, 11, ... from (ground truth ids, predicted ids, IoU); one ignored prediction in the first frame."""
    return ClassFrames(
        range(10, 10 + len(entries)),
        [np.array(truth, np.int64) for truth, _, _ in entries],
        [np.array(predicted, np.int64) for _, predicted, _ in entries],
        [np.array(ious, float).reshape(len(truth), len(predicted)) for truth, predicted, ious in entries],
        [np.array([ignored] if ignored is not None and not number else [], np.int64) for number in range(len(entries))],
    )


CARS = frames_of(
    ([1, 2], [7], [[0.9], [0.0]]),  # 1 found as 7, 2 missed
    ([1], [7, 8], [[0.3, 0.6]]),  # 1 found as 8: a switch; 7 false
    ([2], [], []),
    ([1, 2], [8, 9], [[0.7, 0.1], [0.2, 0.8]]),
    ignored=99,
)


def test_tracks_over_time() -> None:
    first, second = track_rows(CARS, REACHED)
    assert (first.truth_id, second.truth_id) == (1, 2)
    np.testing.assert_array_equal(first.frames, [10, 11, 13])
    np.testing.assert_array_equal(first.predicted, [7, 8, 8])
    np.testing.assert_array_equal(first.switched, [False, True, False])
    np.testing.assert_array_equal(second.predicted, [MISSED, MISSED, 9])
    assert not second.switched.any()  # found for the first time is no switch
    assert track_rows(frames_of(([], [4], [])), REACHED) == []


def test_a_switch_is_seen_across_a_gap() -> None:
    (row,) = track_rows(frames_of(([1], [4], [[0.9]]), ([1], [], []), ([1], [5], [[0.9]])), REACHED)
    np.testing.assert_array_equal(row.switched, [False, False, True])


def test_errors_of_a_frame_gather_all_classes() -> None:
    people = frames_of(([50], [60], [[1.0]]), ([50], [61], [[1.0]]), ([], [62], []), ([], [], []))
    scores = MotsScores({}, {}, {"0007": {"car": CARS, "pedestrian": people}}, REACHED)
    errors = frame_errors(scores)
    assert [(entry.frame, entry.missed, entry.false, entry.switched) for entry in errors] == [
        (10, (2,), (), ()),
        (11, (), (7,), (8, 61)),
        (12, (2,), (62,), ()),
    ]
    assert errors[0].pairs == ((1, 7), (50, 60))
    assert errors[0].ignored == (99,)
    assert errors[1].count == 3
    assert np.isclose(errors[1].loss, 0.4)


def test_the_worst_frames_keep_a_distance() -> None:
    def error(sequence: str, frame: int, count: int, loss: float = 0.0) -> FrameErrors:
        return FrameErrors(sequence, frame, tuple(range(count)), (), (), (), (), loss)

    errors = [error("a", 1, 3), error("a", 5, 4), error("a", 15, 2), error("b", 6, 2, 0.5), error("b", 40, 1)]
    assert [(entry.sequence, entry.frame) for entry in worst_frames(errors, 3)] == [("a", 5), ("b", 6), ("a", 15)]
    assert worst_frames([], 3) == []


def test_matching_solves_what_competes() -> None:
    # Taking the best pair first (0.9) would leave the second row with nothing.
    rows, columns = match(np.array([[0.9, 0.8], [0.7, 0.2]]), REACHED)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    rows, columns = match(np.array([[0.6], [0.9]]), REACHED)
    assert (rows.tolist(), columns.tolist()) == ([1], [0])
    assert [len(part) for part in match(np.array([[0.5]]), REACHED)] == [1, 1]
    assert [len(part) for part in match(np.array([[0.5]]), EXCEEDED)] == [0, 0]
    assert [len(part) for part in match(np.zeros((0, 3)), REACHED)] == [0, 0]
