"""The full association on the one path: what is painted, and when."""

import dataclasses

import numpy as np

from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord
from wsperception.decode import RawOutputs
from wsperception.pipeline import Pipeline, PipelineSettings
from wsperception.tracking import FullSettings, TrackerSettings
from wsperception.types import Frame, LabelSpace

BUNDLE = ModelBundle(
    name="scripted",
    input_size=(50, 100),
    label_space=LabelSpace(("car", "pedestrian"), (True, True)),
    mask_side=2,
    mask_context=1.0,
    embedding_length=1,
    max_detections=4,
    method="none",
    supervision="none",
    training=TrainingRecord("", "", "", {}),
    thresholds=Thresholds(),
)
SETTINGS = PipelineSettings(
    TrackerSettings(min_score=0.5, association="full", full=FullSettings(confirm_s=0.1, confirm_score=0.9))
)


def outputs(boxes: list[list[float]], scores: list[float]) -> list[RawOutputs]:
    count, rows = len(boxes), BUNDLE.max_detections
    padded = np.zeros((rows, 4), np.float32)
    padded[:count] = np.array(boxes, np.float32).reshape(count, 4)
    all_scores = np.array(scores + [0.0] * (rows - count), np.float32)
    masks, ones = np.ones((rows, 2, 2), np.float32), np.ones((rows, 1), np.float32)
    return [RawOutputs(padded, all_scores, np.zeros(rows, np.int32), masks, padded, ones)]


class Scripted:
    """A backend that gives one list of outputs after the other."""

    name = "scripted"

    def __init__(self, *script: list[RawOutputs]) -> None:
        self.script = list(script)

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        return self.script.pop(0)

    def close(self) -> None:
        pass


def shown(settings: PipelineSettings, *script: list[RawOutputs]) -> list[list[tuple[int, float, int]]]:
    """Per frame (track id, score, pixels) of every segment."""
    pipeline = Pipeline(Scripted(*script), BUNDLE, settings)
    result = []
    for index in range(len(script)):
        got = pipeline(Frame(np.zeros((50, 100, 3), np.uint8), index * 10**8, "front", index))
        segments = got.segments
        areas = np.bincount(segments.ids.ravel(), minlength=len(segments.class_ids))
        assert got.instances.boxes.tolist() == segments.boxes[1:].tolist()
        rows = zip(segments.track_ids, segments.scores, areas, strict=True)
        result.append([(int(i), round(float(s), 2), int(a)) for i, s, a in rows][1:])
    return result


CAR, OTHER = [10.0, 10.0, 30.0, 30.0], [20.0, 10.0, 40.0, 30.0]


def test_tentative_objects_are_not_painted_and_hide_nothing():
    # The newcomer scores 0.8: better than the car's 0.7, over half of which it lies. It has no id in its first frame.
    script = [outputs([CAR], [0.95]), outputs([CAR, OTHER], [0.7, 0.8]), outputs([CAR, OTHER], [0.7, 0.8])]
    frames = shown(SETTINGS, *script)
    assert frames[0] == [(1, 0.95, 400)]
    assert frames[1] == [(1, 0.7, 400)]
    assert frames[2] == [(2, 0.8, 400), (1, 0.7, 200)]


def test_untracked_objects_on_demand():
    settings = dataclasses.replace(SETTINGS, keep_untracked=True, untracked_min_score=0.6)
    frames = shown(settings, outputs([CAR], [0.95]), outputs([CAR, OTHER], [0.7, 0.8]))
    assert frames[1] == [(0, 0.8, 400), (1, 0.7, 200)]


def test_weak_detections_are_painted_when_they_belong_to_a_track():
    # 0.3 goes on with the car; the other weak one, 0.4, belongs to nobody and takes no pixel of it.
    frames = shown(SETTINGS, outputs([CAR], [0.95]), outputs([CAR, OTHER], [0.3, 0.4]), outputs([], []))
    assert frames[1] == [(1, 0.3, 400)] or frames[1] == [(1, 0.4, 400)]
    assert len(frames[1]) == 1
    assert frames[2] == []


def test_weak_detections_of_nobody_leave_no_trace():
    frames = shown(SETTINGS, outputs([CAR], [0.95]), outputs([CAR, [60, 10, 80, 30]], [0.95, 0.3]))
    assert frames == [[(1, 0.95, 400)], [(1, 0.95, 400)]]


def test_weak_detections_take_no_pixels_of_strong_ones():
    frames = shown(SETTINGS, outputs([CAR, OTHER], [0.95, 0.94]), outputs([CAR, OTHER], [0.3, 0.94]))
    assert frames[1] == [(2, 0.94, 400), (1, 0.3, 200)]


def test_the_papers_association_sees_no_weak_detection():
    settings = PipelineSettings(TrackerSettings(min_score=0.5))
    assert settings.min_score == settings.painted_score == 0.5
    frames = shown(settings, outputs([CAR], [0.95]), outputs([CAR, OTHER], [0.3, 0.8]))
    assert frames == [[(1, 0.95, 400)], [(2, 0.8, 400)]] or frames[1][0][0] in (1, 2)
