"""The full association: what holds in any story."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from stories import at, detections, full, random_story, run

from wsperception.errors import InputError
from wsperception.tracking import Tracker


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


def test_broken_numbers_never_reach_the_tracker():
    with pytest.raises(InputError, match=r"Instances.boxes: expected finite values, got NaN or infinity"):
        detections([[np.nan, 0, 1, 1]])


def test_no_id_left():
    with pytest.raises(InputError, match="max_id: 2 tracks live at once, no id is left"):
        Tracker(full(max_id=2)).update(detections([at(0), at(50), at(100)]), 0)


@run_settings(derandomize=True, deadline=None, database=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_ids_that_start_again_from_one_are_never_those_of_living_tracks(seed):
    # Twelve ids for seven objects at a time: counting starts again within the story.
    tracker = Tracker(full(max_id=12, lost_s=0.2, refind_s=0.0))
    given_ids: list[int] = []
    for index, frame in enumerate(random_story(seed, frames=30)):
        before = tracker.tracks
        ids = tracker.update(frame, index * 10**8)
        living = tracker.tracks.ids[tracker.tracks.confirmed]
        assert len(np.unique(living)) == len(living)
        assert living.max(initial=0) <= 12
        new = ids[(ids > 0) & ~np.isin(ids, before.ids)].tolist()
        given_ids += new
    assert len(given_ids) > 12
