"""The full association: life stories, times at several frame rates, properties, odd input."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from wsperception.errors import InputError
from wsperception.tracking import FullSettings, Tracker, TrackerSettings
from wsperception.types import Instances

_spec = importlib.util.spec_from_file_location("stories", Path(__file__).with_name("stories.py"))
assert _spec is not None and _spec.loader is not None
stories = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stories)
EAST, NORTH, NOTHING, SIZE = stories.EAST, stories.NORTH, stories.NOTHING, stories.SIZE
at, detections, full, run = stories.at, stories.detections, stories.full, stories.run

RATES = [5, 10, 30]


def moving(rate: int, seconds: float, speed: float, start: float = 20.0, **values) -> list[Instances]:
    """One object at `speed` pixels per second."""
    return [detections([at(start + speed * k / rate)], **values) for k in range(round(seconds * rate) + 1)]


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


def test_low_scores_go_on_with_tracks_and_begin_none():
    weak = {"scores": [0.2, 0.2]}
    story = [detections([at(50)]), detections([at(50), at(200)], **weak), detections([at(50), at(200)], **weak)]
    assert run(Tracker(full(low_score=0.15)), story) == [[1], [1, 0], [1, 0]]
    assert run(Tracker(full(low_score=0.3)), story) == [[1], [0, 0], [0, 0]]


def test_low_scores_lengthen_no_long_gap():
    story = [*moving(10, 0.3, 0.0), *[NOTHING] * 4, detections([at(20)], scores=[0.2])]
    assert run(Tracker(full(low_lost_s=0.6)), story)[-1] == [1]
    assert run(Tracker(full(low_lost_s=0.4)), story)[-1] == [0]


def test_found_again_by_appearance_and_only_by_appearance():
    # Gone for 2 s, longer than motion carries it, and back elsewhere. Another object looks different.
    def story(back: list[float]) -> list[Instances]:
        return [*[detections([at(50)])] * 5, *[NOTHING] * 20, detections([at(200)], [back])]

    settings = full(lost_s=1.0, refind_s=3.0, refind_min_cosine=0.8)
    assert run(Tracker(settings), story([0.96, 0.28]))[-1] == [1]
    assert run(Tracker(settings), story([0.6, 0.8]))[-1] == [2]
    assert run(Tracker(full(lost_s=1.0, refind_s=1.5)), story(EAST))[-1] == [2]


def test_not_found_again_where_two_look_alike():
    story = [*[detections([at(50)])] * 5, *[NOTHING] * 20, detections([at(150), at(250)], [EAST, [0.99, 0.141]])]
    assert run(Tracker(full(refind_margin=0.1)), story)[-1] == [2, 3]
    assert run(Tracker(full(refind_margin=0.0)), story)[-1] == [1, 2]


def jumping(embedding: list[float] = EAST, score: float = 0.95) -> list[Instances]:
    """Stands still for 0.4 s, then is found 32 px farther, where its box of 20 px does not reach."""
    return [*[detections([at(50)])] * 5, detections([at(82)], [embedding], [score])]


def test_a_track_missing_nearby_is_gone_on_with():
    # 0.1 s unseen: it may be (1.0 + 10 x 0.1) x 20 = 40 px away. A quarter of that is not enough, nor is the past.
    reach = {"adopt_reach": 1.0, "adopt_speed": 10.0, "refind_s": 0.0}
    assert run(Tracker(full(**reach)), jumping())[-1] == [1]
    assert run(Tracker(full(**{**reach, "adopt_speed": 0.0})), jumping())[-1] == [2]
    assert run(Tracker(full(**reach, adopt_s=0.05)), jumping())[-1] == [2]
    # Score 0.55: the cost of at least 0.8 is multiplied by 1 + 2 (1 - 0.55).
    assert run(Tracker(full(**reach)), jumping(score=0.55))[-1] == [2]


def test_a_track_nearby_that_looks_different_is_not_gone_on_with():
    assert run(Tracker(full(refind_s=0.0)), jumping(NORTH))[-1] == [2]
    assert run(Tracker(full(refind_s=0.0, appearance_weight=0.0)), jumping(NORTH))[-1] == [1]


def test_a_track_that_is_seen_is_not_taken_over():
    story = [*[detections([at(50)])] * 5, detections([at(50), at(82)])]
    assert run(Tracker(full()), story)[-1] == [1, 2]


def test_a_new_track_waits_for_its_id_where_another_is_missing():
    # 70 px are 3.5 sides: too far to go on with it (1.5 + 0.5), near enough (4) to wait. 90 px are not.
    def story(x: float) -> list[Instances]:
        return [*[detections([at(50)])] * 5, detections([at(x)]), detections([at(x)])]

    settings = full(confirm_s=0.1, confirm_score=0.9, refind_s=0.0)
    assert run(Tracker(settings), story(120))[-2:] == [[0], [2]]
    assert run(Tracker(settings), story(140))[-2:] == [[2], [2]]


def test_tracks_begin_from_min_score_and_go_on_from_high_score():
    # The weak one lies nearer. Equals compete; a low one only takes what the others leave.
    story = [detections([at(50)]), detections([at(50), at(58), at(200)], scores=[0.5, 0.95, 0.5])]
    assert run(Tracker(full(min_score=0.9, high_score=0.4)), story)[-1] == [1, 2, 0]
    assert run(Tracker(full(min_score=0.9, high_score=0.6)), story)[-1] == [0, 1, 0]
    assert run(Tracker(full(min_score=0.3, high_score=0.6)), story)[-1] == [1, 2, 3]  # never above min_score


def test_embeddings_of_length_one_say_nothing():
    def blind(boxes: list[list[float]]) -> Instances:
        made = detections(boxes)
        ones = np.ones((len(boxes), 1), np.float32)
        return Instances(made.boxes, made.boxes, made.masks, made.scores, made.class_ids, ones, SIZE)

    assert run(Tracker(full()), [blind([at(50)]), blind([]), blind([at(200)])])[-1] == [2]


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


def test_objects_leave_across_the_border():
    # 60 px wide, 150 px/s: what is left of it shrinks from frame to frame, and its centre slows down.
    story = []
    for k in range(8):
        x = 50.0 - 15 * k
        story.append(detections([[max(x, 0.0), 20, x + 60, 60]]))
    assert {value for (value,) in run(Tracker(full()), story)} == {1}


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


def test_states_under_the_papers_association():
    tracker = Tracker(TrackerSettings())
    tracker.update(detections([at(50), at(100)]), 0)
    tracker.update(detections([at(51)]), 10**8)
    states = tracker.tracks
    assert states.ids.tolist() == [2, 1]
    assert states.age_s == pytest.approx([0.1, 0.1])
    assert states.unseen_s == pytest.approx([0.1, 0.0])
    assert (states.velocities == 0).all()


def test_equal_stamps_count_as_the_nominal_interval():
    tracker = Tracker(full(lost_s=0.35, refind_s=0.0))
    frames = [detections([at(50)]), NOTHING, NOTHING, detections([at(50)]), *[NOTHING] * 4, detections([at(50)])]
    assert [tracker.update(frame, 0).tolist() for frame in frames][3] == [1]
    assert tracker.update(detections([at(50)]), 0).tolist() == [2]


def test_time_jumps():
    tracker = Tracker(full(refind_s=0.0))
    assert tracker.update(detections([at(50)]), 10**9).tolist() == [1]
    assert tracker.update(detections([at(50)]), 9 * 10**8).tolist() == [2]  # backward: a new story, no id twice
    assert tracker.update(detections([at(50)]), 10**9).tolist() == [2]
    assert tracker.update(detections([at(50)]), 3600 * 10**9).tolist() == [3]  # an hour later
    assert len(tracker.tracks) == 1


def test_another_camera_is_another_tracker_and_reset_starts_from_one():
    one, other = Tracker(full()), Tracker(full())
    assert one.update(detections([at(0), at(50)]), 0).tolist() == [1, 2]
    assert other.update(detections([at(0)]), 0).tolist() == [1]
    one.reset()
    assert one.update(detections([at(50)]), 0).tolist() == [1]


def test_the_association_may_change_between_frames():
    tracker = Tracker(TrackerSettings())
    assert tracker.update(detections([at(50)]), 0).tolist() == [1]
    tracker.settings = full()
    assert tracker.update(detections([at(50)]), 10**8).tolist() == [2]
    tracker.settings = TrackerSettings()
    assert tracker.update(detections([at(50)]), 2 * 10**8).tolist() == [3]


def test_the_image_size_may_change():
    tracker = Tracker(full())
    half = [[50.0, 60.0, 60.0, 100.0]]  # at(100, 30) in an image half as wide and twice as high
    story = [detections([at(100)]), detections(half, size=(200, 150)), detections([at(100)])]
    assert run(tracker, story) == [[1], [1], [1]]


def test_two_thousand_objects():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, [4000, 2000], (2000, 2))
    tracker = Tracker(full())
    for k in range(3):
        boxes = np.concatenate([corners + k, corners + k + 25], axis=1)
        found = detections(boxes.tolist(), classes=[0] * 2000, size=(2100, 4100))
        ids = tracker.update(found, k * 10**8)
        assert len(np.unique(ids)) == 2000
    assert (ids == np.arange(1, 2001)).mean() > 0.95 or len(set(ids.tolist())) == 2000
    for k in range(3, 80):
        tracker.update(NOTHING, k * 10**8)
    assert len(tracker.tracks) == 0  # nothing is kept of those that are gone


def test_degenerate_boxes():
    odd = [[50.0, 50.0, 50.0, 50.0], [0.0, 0.0, 300.0, 0.0], [299.0, 99.0, 300.0, 100.0]]
    tracker = Tracker(full())
    for k in range(5):
        ids = tracker.update(detections(odd), k * 10**8)
        assert len(set(ids[ids > 0].tolist())) == (ids > 0).sum()
    states = tracker.tracks
    assert np.isfinite(states.boxes).all()
    assert np.isfinite(states.velocities).all()


def test_broken_numbers_never_reach_the_tracker():
    with pytest.raises(InputError, match=r"Instances.boxes: expected finite values, got NaN or infinity"):
        detections([[np.nan, 0, 1, 1]])


def test_no_id_left():
    with pytest.raises(InputError, match="max_id: 2 tracks live at once, no id is left"):
        Tracker(full(max_id=2)).update(detections([at(0), at(50), at(100)]), 0)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"lost_s": -1.0}, "lost_s: expected 0 to 60, got -1"),
        ({"size_gate": 0.5}, "size_gate: expected 1 to 1000, got 0.5"),
        ({"uncertainty_margin": 11.0}, "uncertainty_margin: expected 0 to 10, got 11"),
    ],
)
def test_settings_are_checked(values, text):
    with pytest.raises(InputError, match=text):
        FullSettings(**values)
    with pytest.raises(InputError, match="association: expected one of paper, full, got 'best'"):
        TrackerSettings(association="best")


def random_story(seed: int, frames: int = 15) -> list[Instances]:
    """Objects of two classes on a walk, with misses, births and scores from 0.05 to 1."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 250, (7, 2)) * [1.0, 0.3]
    angles, classes = rng.uniform(0, 2 * np.pi, 7), rng.integers(0, 2, 7)
    story = []
    for _ in range(frames):
        corners = corners + rng.normal(0, 4, corners.shape)
        seen = np.flatnonzero(rng.random(7) < 0.7)
        wobble = angles[seen] + rng.normal(0, 0.2, len(seen))
        embeddings = np.stack([np.cos(wobble), np.sin(wobble)], axis=1)
        boxes = [at(float(x), float(y)) for x, y in corners[seen]]
        scores = rng.uniform(0.05, 1.0, len(seen)).tolist()
        story.append(detections(boxes, embeddings.tolist(), scores, classes[seen].tolist()))
    return story


@run_settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_permuting_detections_permutes_rows_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    one, other = Tracker(full(confirm_s=0.1)), Tracker(full(confirm_s=0.1))
    for index, frame in enumerate(random_story(seed)):
        order = rng.permutation(len(frame))
        ids = one.update(frame, index * 10**8)
        shuffled = other.update(frame.select(order), index * 10**8)
        assert shuffled.tolist() == ids[order].tolist()
        assert one.tracks.boxes.tolist() == other.tracks.boxes.tolist()


@run_settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 10**8, 3 * 10**7, 2 * 10**9]))
def test_ids_are_never_shared_and_never_return(seed, interval_ns):
    tracker = Tracker(full(confirm_s=0.1))
    class_of: dict[int, int] = {}
    gone: set[int] = set()
    before: set[int] = set()
    for index, frame in enumerate(random_story(seed)):
        ids = tracker.update(frame, index * interval_ns)
        assert ids.dtype == np.int32
        given_ids = ids[ids > 0].tolist()
        assert len(set(given_ids)) == len(given_ids)
        assert (ids[frame.scores < 0.1] == 0).all()
        states = tracker.tracks
        living = states.ids[states.confirmed].tolist()
        assert len(set(living)) == len(living)
        assert set(given_ids) <= set(living)
        gone |= before - set(living)
        assert not gone & set(living)
        before = set(living)
        for track_id, class_id in zip(given_ids, frame.class_ids[ids > 0].tolist(), strict=True):
            assert class_of.setdefault(track_id, class_id) == class_id


@run_settings(derandomize=True, deadline=None, database=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_every_run_gives_the_same(seed):
    story = random_story(seed)
    assert run(Tracker(full()), story) == run(Tracker(full()), story)
