"""The tracker: life stories frame by frame, the assignment against brute force, and properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from stories import EAST, NORTH, NOTHING, WEST, at, detections, random_story

from wsperception.errors import InputError
from wsperception.tracking import Tracker, TrackerSettings
from wsperception.tracking.assignment import assign
from wsperception.tracking.paper import NO_TRACKS, Tracks, similarity
from wsperception.types import Instances


def run(tracker: Tracker, frames: list[Instances], start_ns: int = 0) -> list[list[int]]:
    """Ids of each frame, 100 ms apart."""
    return [tracker.update(frame, start_ns + index * 10**8).tolist() for index, frame in enumerate(frames)]


def test_similarity_by_hand():
    # Boxes [0, 20) and [10, 30): 10 / 30 = 1/3. Embeddings (0.6, 0.8) and (1, 0): 0.6. Together 0.2. The opposite
    # direction counts as 0, another class too.
    tracks = Tracks(
        np.array([4, 9], np.int32),
        np.array([0, 1], np.int32),
        np.array([at(0), at(0)], np.float32),
        np.array([[0.6, 0.8], [0.6, 0.8]], np.float32),
        np.array([1, 1]),
    )
    found = detections([at(10), at(0), at(0)], [EAST, WEST, NORTH], classes=[0, 0, 1])
    assert similarity(tracks, found) == pytest.approx(np.array([[0.2, 0.0, 0.0], [0.0, 0.0, 0.8]]))
    assert similarity(tracks, found).max() <= 1.0
    assert similarity(tracks, NOTHING).shape == (2, 0)


def test_ids_follow_objects_through_birth_motion_and_death():
    tracker = Tracker(TrackerSettings(window=2))
    story = [
        detections([at(0), at(100)]),  # two are born: 1, 2
        detections([at(104), at(5)]),  # they move, listed the other way round
        detections([at(10), at(200)]),  # 2 is not seen; one is born: 3
        NOTHING,  # nobody is seen
        detections([at(108)]),  # 2 was last seen three frames ago: too long; 4 is born
        detections([at(203), at(12)]),  # 3 and 1 were last seen three frames ago as well: 5, 6
        NOTHING,
        detections([at(12), at(108)]),  # last seen two and three frames ago: 6 lives, 4 is dead
    ]
    assert run(tracker, story) == [[1, 2], [2, 1], [1, 3], [], [4], [5, 6], [], [6, 7]]


@pytest.mark.parametrize("window", [1, 3, 10])
def test_a_track_lives_exactly_window_frames(window):
    for missing, expected in ((window - 1, 1), (window, 2)):
        story = [detections([at(0)])] + [NOTHING] * missing + [detections([at(0)])]
        assert run(Tracker(TrackerSettings(window=window)), story)[-1] == [expected]


def test_the_most_recent_detection_counts():
    # Having moved to 30, the track no longer meets its own first box.
    story = [detections([at(0)]), detections([at(15)]), detections([at(30)]), detections([at(0), at(31)])]
    assert run(Tracker(), story) == [[1], [1], [1], [2, 1]]


def test_appearance_decides_between_neighbours():
    # The left object (EAST) and the right one (NORTH) swap sides. By boxes alone they would swap ids.
    story = [
        detections([at(0), at(12)], [EAST, NORTH]),
        detections([at(0), at(12)], [NORTH, EAST]),
        detections([at(12), at(0)], [[0.8, 0.6], [0.6, 0.8]]),
    ]
    assert run(Tracker(), story) == [[1, 2], [2, 1], [1, 2]]


def test_pairs_without_similarity_are_forbidden():
    # No overlap, and opposite appearance: the Hungarian method alone would match both.
    assert run(Tracker(), [detections([at(0)]), detections([at(20)])]) == [[1], [2]]
    assert run(Tracker(), [detections([at(0)]), detections([at(0)], [WEST])]) == [[1], [2]]
    # Overlap 5 of 35: 1/7 = 0.1429.
    story = [detections([at(0)]), detections([at(15)])]
    assert run(Tracker(TrackerSettings(min_similarity=0.14)), story) == [[1], [1]]
    assert run(Tracker(TrackerSettings(min_similarity=0.15)), story) == [[1], [2]]


def test_classes_do_not_mix():
    story = [
        detections([at(0), at(2)], classes=[0, 1]),
        detections([at(0), at(2)], classes=[1, 0]),
        detections([at(0)], classes=[1]),
    ]
    assert run(Tracker(), story) == [[1, 2], [2, 1], [2]]


def test_low_scores_get_no_id_and_leave_the_track_alone():
    assert run(Tracker(), [detections([at(0), at(100)], scores=[0.89, 0.9])]) == [[0, 1]]  # 0.9 itself is tracked
    # Had the weak detection moved the track to 15, the last one would have met it.
    story = [detections([at(0)]), detections([at(15)], scores=[0.5]), detections([at(25)])]
    assert run(Tracker(), story) == [[1], [0], [2]]


def test_backward_time_ends_tracks_but_reuses_no_id():
    tracker = Tracker()
    assert tracker.update(detections([at(0)]), 500).tolist() == [1]
    assert tracker.update(detections([at(0)]), 500).tolist() == [1]  # the same stamp twice: the next frame
    assert tracker.update(detections([at(0)]), 499).tolist() == [2]  # earlier: a new story
    assert tracker.update(detections([at(0)]), 500).tolist() == [2]
    assert tracker.update(detections([at(0)]), 10**15).tolist() == [2]  # a long wait is one frame


def test_equal_stamps_age_tracks():
    tracker = Tracker(TrackerSettings(window=1))
    assert [tracker.update(frame, 0).tolist() for frame in (detections([at(0)]), NOTHING, detections([at(0)]))] == [
        [1],
        [],
        [2],
    ]


def test_reset_starts_from_one():
    tracker = Tracker()
    story = [detections([at(0), at(50)]), detections([at(0)])]
    first = run(tracker, story, start_ns=10**12)
    tracker.reset()
    assert run(tracker, story) == first == [[1, 2], [1]]


def test_ids_wrap_and_skip_the_living():
    # Of ids 1 to 4, 2 and 3 live on; 1 and 4 die after one missed frame. The next new ones are 4, then 1: counting
    # goes on behind 4 at 1.
    tracker = Tracker(TrackerSettings(window=1, max_id=4))
    lasting = [at(50), at(100)]
    story = [
        detections([at(0), *lasting]),
        detections([at(200), *lasting]),
        detections(lasting),
        detections([*lasting, at(0), at(200)]),
    ]
    assert run(tracker, story) == [[1, 2, 3], [4, 2, 3], [2, 3], [2, 3, 1, 4]]
    with pytest.raises(InputError, match="max_id: 4 tracks live at once, no id is left"):
        tracker.update(detections([*lasting, at(0), at(200), at(250)]), 10**12)
    with pytest.raises(InputError, match="max_id: 2 tracks live at once, no id is left"):
        Tracker(TrackerSettings(max_id=2)).update(detections([at(0), at(50), at(100)]), 0)


def test_image_size_may_change_within_a_track():
    half = [[50.0, 60.0, 60.0, 100.0]]  # at(100, 30) in an image half as wide and twice as high
    story = [detections([at(100, 30)]), detections(half, size=(200, 150)), detections([at(100, 30)])]
    assert run(Tracker(), story) == [[1], [1], [1]]


def test_settings_may_change_between_frames():
    tracker = Tracker()
    tracker.update(detections([at(0)]), 0)
    tracker.settings = TrackerSettings(min_score=0.99)
    assert tracker.update(detections([at(0)]), 1).tolist() == [0]
    tracker.settings = TrackerSettings()
    assert tracker.update(detections([at(0)]), 2).tolist() == [1]


def test_trackers_share_nothing():
    one, other = Tracker(), Tracker()
    assert one.update(detections([at(0), at(50)]), 0).tolist() == [1, 2]
    assert other.update(detections([at(0)]), 0).tolist() == [1]
    assert len(NO_TRACKS) == 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"window": 0}, "window: expected 1 to 10000, got 0"),
        ({"min_score": 1.1}, "min_score: expected 0 to 1, got 1.1"),
        ({"max_id": 65536}, "max_id: expected 1 to 65535, got 65536"),
        ({"min_similarity": -0.1}, "min_similarity: expected 0 to 1, got -0.1"),
    ],
)
def test_settings_are_checked(values, text):
    with pytest.raises(InputError, match=text):
        TrackerSettings(**values)


def test_defaults_are_the_papers():
    settings = TrackerSettings()
    assert (settings.min_score, settings.window, settings.min_similarity) == (0.9, 10, 0.0)


def test_assign_by_hand():
    # Greedy takes 0.9 and is left with 0.1: 1.0. The best sum is 0.8 + 0.7.
    lines, columns = assign(np.array([[0.9, 0.8], [0.7, 0.1]]), 0.0)
    assert (lines.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    # A bad second pair does not spoil the good one: above 0.1, 0.5 is worth 0.4, while 0.45 and 0.11 are worth 0.36.
    lines, columns = assign(np.array([[0.5, 0.45], [0.11, 0.0]]), 0.1)
    assert (lines.tolist(), columns.tolist()) == ([0], [0])
    assert assign(np.array([[0.5, 0.45], [0.11, 0.0]]), 0.0)[1].tolist() == [1, 0]
    for none in (np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 2))):
        lines, columns = assign(none, 0.0)
        assert len(lines) == len(columns) == 0


def best_sum(sim: np.ndarray, min_similarity: float) -> float:
    """The greatest sum of (Sim - min_similarity) over pairs above it, by trying everything."""
    worth = np.maximum(sim - min_similarity, 0.0)
    if worth.shape[0] > worth.shape[1]:
        worth = worth.T
    count = worth.shape[0]
    return max(
        sum(worth[row, column] for row, column in zip(range(count), columns, strict=True))
        for columns in itertools.permutations(range(worth.shape[1]), count)
    )


@run_settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.0, 0.2, 0.6]))
def test_assign_equals_brute_force(seed, tracks, found, min_similarity):
    rng = np.random.default_rng(seed)
    sim = rng.random((tracks, found)) * (rng.random((tracks, found)) < rng.uniform(0.2, 1.0))
    lines, columns = assign(sim, min_similarity)
    assert len(set(lines.tolist())) == len(lines) == len(set(columns.tolist()))
    assert (np.diff(lines) > 0).all()
    assert (sim[lines, columns] > min_similarity).all()
    assert (sim[lines, columns] - min_similarity).sum() == pytest.approx(best_sum(sim, min_similarity))


@run_settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_story_properties(seed):
    story = random_story(seed, lowest=0.85)
    tracker = Tracker()
    class_of: dict[int, int] = {}
    largest = 0
    for index, frame in enumerate(story):
        ids = tracker.update(frame, index)
        assert ids.dtype == np.int32
        assert ((ids == 0) == (frame.scores < 0.9)).all()
        given_ids = ids[ids > 0].tolist()
        assert len(set(given_ids)) == len(given_ids)
        for track_id, class_id in zip(given_ids, frame.class_ids[ids > 0].tolist(), strict=True):
            assert class_of.setdefault(track_id, class_id) == class_id
        new = [track_id for track_id in given_ids if track_id > largest]
        assert new == list(range(largest + 1, largest + 1 + len(new)))  # counted up in row order
        largest += len(new)
    assert run(Tracker(), story) == run(Tracker(), story)


@run_settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_order_of_detections_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    one, other = Tracker(), Tracker()
    names: dict[int, int] = {}
    for index, frame in enumerate(random_story(seed, lowest=0.85)):
        order = rng.permutation(len(frame))
        ids = one.update(frame, index)
        shuffled = np.zeros_like(ids)
        shuffled[order] = other.update(frame.select(order), index)
        # The same objects, though new ones may be counted in another order.
        for track_id, name in zip(ids.tolist(), shuffled.tolist(), strict=True):
            assert names.setdefault(track_id, name) == name
    assert len(set(names.values())) == len(names)
