"""The full association: life stories, and times at several frame rates."""

import pytest
from stories import NOTHING, at, detections, full, moving, run

from wsperception.tracking import Tracker
from wsperception.types import Instances

RATES = [5, 10, 30]


@pytest.mark.parametrize("rate", RATES)
def test_one_id_along_a_way(rate):
    ids = run(Tracker(full()), moving(rate, 2.0, 60.0), 1.0 / rate)
    assert {value for (value,) in ids} == {1}


@pytest.mark.parametrize("rate", RATES)
def test_an_id_is_given_after_confirm_s(rate):
    tracker = Tracker(full(confirm_s=0.4, confirm_score=1.0))
    ids = run(tracker, moving(rate, 1.0, 30.0), 1.0 / rate)
    assert next(k / rate for k, (value,) in enumerate(ids) if value == 1) == pytest.approx(0.4)
    assert {value for (value,) in ids} == {0, 1}


def test_a_clear_detection_confirms_at_once():
    tracker = Tracker(full(confirm_s=5.0, confirm_score=0.9))
    ids = run(tracker, [detections([at(0), at(100)], scores=[0.89, 0.9])] * 2)
    assert ids == [[0, 1], [0, 1]]
    states = tracker.tracks
    assert states.confirmed[states.boxes[:, 0] > 50].tolist() == [True]
    assert states.confirmed[states.boxes[:, 0] < 50].tolist() == [False]


@pytest.mark.parametrize("rate", RATES)
def test_a_gap_is_bridged_for_lost_s_and_no_longer(rate):
    # Seen for 1 s, then hidden; with all embeddings alike nothing can be found again by appearance.
    def returning(gap_s: float) -> list[Instances]:
        seen = moving(rate, 1.0, 30.0)
        hidden = round(gap_s * rate)
        last = 20.0 + 30.0 * (1.0 + gap_s + 1 / rate)
        return [*seen, *[NOTHING] * hidden, detections([at(last)])]

    settings = full(lost_s=1.0, slowdown_s=100.0, refind_s=0.0, refind_min_cosine=1.0, refind_margin=1.0)
    assert run(Tracker(settings), returning(0.6), 1.0 / rate)[-1] == [1]
    assert run(Tracker(settings), returning(1.2), 1.0 / rate)[-1] == [2]


def test_what_was_long_unseen_needs_a_better_match():
    # It stands still, so its overlap is 1. Missed 7 frames of 0.1 s: 1 - 0.7 = 0.3. Missed 9: 0.1, less than 0.15.
    def returning(missed: int) -> list[Instances]:
        return [*moving(10, 1.0, 0.0), *[NOTHING] * missed, detections([at(20)])]

    settings = full(lost_s=1.0, refind_s=0.0, uncertainty_margin=0.0, min_similarity=0.15, appearance_weight=0.0)
    assert run(Tracker(settings), returning(7))[-1] == [1]
    assert run(Tracker(settings), returning(9))[-1] == [2]


def test_boxes_that_have_lost_touch_compare_by_how_unsure_their_place_is():
    # Seen once, 20 px wide, then 24 px farther: no overlap. A speed of 3 sides per second is 6 px in 0.1 s.
    story = [detections([at(50)]), detections([at(74)])]
    blind = {"refind_s": 0.0, "appearance_weight": 0.0, "min_similarity": 0.0, "adopt_s": 0.0}
    assert run(Tracker(full(uncertainty_margin=1.0, **blind)), story) == [[1], [1]]
    assert run(Tracker(full(uncertainty_margin=0.0, **blind)), story) == [[1], [2]]


def test_a_weak_detection_moves_a_track_less():
    def place(score: float, score_noise: float) -> float:
        tracker = Tracker(full(score_noise=score_noise))
        run(tracker, [detections([at(50)]), detections([at(56)], scores=[score])])
        return float(tracker.tracks.boxes[0, 0])

    assert 50.0 < place(0.2, 1.0) < place(0.95, 1.0) - 0.1
    assert place(0.2, 0.0) == place(0.95, 0.0)


def test_motion_carries_through_an_occlusion():
    # 20 px wide, 100 px/s, hidden for 0.5 s: it returns 60 px from where it was last seen.
    story = [*moving(10, 1.0, 100.0), *[NOTHING] * 5, detections([at(180.0)])]
    assert run(Tracker(full(slowdown_s=100.0)), story)[-1] == [1]


def test_crossing_objects_keep_their_ids():
    # They meet in the middle at 100 px/s each; the boxes coincide in frame 5, where one is hidden.
    story = []
    for k in range(11):
        left, right = at(50.0 + 10 * k), at(150.0 - 10 * k, y=32)
        story.append(detections([left, right]) if k != 5 else detections([left]))
    ids = run(Tracker(full()), story)
    assert ids[0] == [1, 2]
    assert ids[-1] == [1, 2]


def test_classes_do_not_mix():
    story = [detections([at(0), at(2)], classes=[0, 1]), detections([at(0), at(2)], classes=[1, 0])]
    assert run(Tracker(full()), story) == [[1, 2], [2, 1]]


def test_sizes_do_not_mix():
    story = [detections([at(50, side=10)]), detections([at(50, side=29)])]  # 8.4 times the area
    assert run(Tracker(full(size_gate=8.0, refind_s=0.0, adopt_s=0.0)), story) == [[1], [2]]
    assert run(Tracker(full(size_gate=9.0, min_similarity=0.0, refind_s=0.0)), story) == [[1], [1]]


def test_objects_leave_across_the_border():
    # 60 px wide, 150 px/s: what is left of it shrinks from frame to frame, and its centre slows down.
    story = []
    for k in range(8):
        x = 50.0 - 15 * k
        story.append(detections([[max(x, 0.0), 20, x + 60, 60]]))
    assert {value for (value,) in run(Tracker(full()), story)} == {1}


def row_of_cars(shift: float) -> Instances:
    sides = [16, 26, 20, 30, 18]
    return detections([at(30.0 + 45 * k + shift, side=side) for k, side in enumerate(sides)], size=(100, 1242))


def test_a_turning_camera_does_not_hand_ids_down_the_row():
    # Five boxes 45 px apart move by 40 px from one frame to the next: each lies on its neighbour's old place.
    story = [row_of_cars(0), row_of_cars(0), row_of_cars(40), row_of_cars(80)]
    blind = {"appearance_weight": 0.0, "refind_s": 0.0}
    ids = run(Tracker(full(**blind)), story)
    assert ids[-1] == ids[0]
    ids = run(Tracker(full(common_motion=False, **blind)), story)
    assert ids[-1] != ids[0]


def test_states_tell_age_gap_and_velocity():
    tracker = Tracker(full(slowdown_s=100.0))
    run(tracker, moving(10, 1.0, 40.0))
    tracker.update(NOTHING, 1_300_000_000)
    states = tracker.tracks
    assert len(states) == 1
    assert states.age_s == pytest.approx([1.3])
    assert states.unseen_s == pytest.approx([0.3])
    assert states.velocities[0] == pytest.approx([40.0, 0.0], abs=4.0)
    assert states.boxes[0] == pytest.approx(at(20 + 40 * 1.3), abs=4.0)
    assert states.confirmed.tolist() == [True]
