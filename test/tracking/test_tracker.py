"""One tracker under either association: its clock, resets, several cameras, image sizes, settings."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from stories import NOTHING, at, detections, full, run

from wsperception.errors import InputError
from wsperception.tracking import FullSettings, Tracker, TrackerSettings


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


BOTH = [TrackerSettings(min_score=0.5), full()]
by_association = pytest.mark.parametrize("settings", BOTH, ids=["paper", "full"])


@by_association
def test_two_thousand_objects(settings):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, [4000, 2000], (2000, 2))
    tracker = Tracker(settings)
    for k in range(3):
        boxes = np.concatenate([corners + k, corners + k + 25], axis=1)
        found = detections(boxes.tolist(), classes=[0] * 2000, size=(2100, 4100))
        ids = tracker.update(found, k * 10**8)
        assert len(np.unique(ids)) == 2000
    assert (ids == np.arange(1, 2001)).mean() > 0.95 or len(set(ids.tolist())) == 2000
    for k in range(3, 80):
        tracker.update(NOTHING, k * 10**8)
    assert len(tracker.tracks) == 0  # nothing is kept of those that are gone


@by_association
def test_degenerate_boxes(settings):
    odd = [[50.0, 50.0, 50.0, 50.0], [0.0, 0.0, 300.0, 0.0], [299.0, 99.0, 300.0, 100.0]]
    tracker = Tracker(settings)
    for k in range(5):
        ids = tracker.update(detections(odd), k * 10**8)
        assert len(set(ids[ids > 0].tolist())) == (ids > 0).sum()
    states = tracker.tracks
    assert np.isfinite(states.boxes).all()
    assert np.isfinite(states.velocities).all()


@by_association
def test_memory_is_bounded_by_the_living_tracks(settings):
    # Two new objects in every frame, seen for three frames each and never again: always as many are alive.
    tracker = Tracker(dataclasses.replace(settings, full=FullSettings(lost_s=0.5, refind_s=0.5)))
    sizes = {}
    tracemalloc.start()
    for k in range(141):
        boxes = [at(25.0 * (born % 60), 10.0 + y) for born in (k, k - 1, k - 2) for y in (0.0, 50.0)]
        tracker.update(detections(boxes, size=(100, 1500)), k * 10**8)
        if k in (40, 140):
            sizes[k] = tracemalloc.get_traced_memory()[0], len(tracker.tracks)
    tracemalloc.stop()
    assert tracker.tracks.ids.max() > 250
    assert sizes[140][1] == sizes[40][1]
    assert sizes[140][0] < sizes[40][0] + 10_000  # each of the 200 objects between has some 300 bytes or more
