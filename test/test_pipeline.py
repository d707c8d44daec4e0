"""The path with a backend that gives what the test says: order of stages, several cameras, settings, faults."""

import dataclasses

import numpy as np
import pytest

from wsperception.bundle import OUTPUTS, ModelBundle, Thresholds, TrainingRecord
from wsperception.decode import RawOutputs
from wsperception.errors import InputError
from wsperception.pipeline import STAGES, Pipeline, PipelineSettings, default_settings
from wsperception.tracking import TrackerSettings
from wsperception.types import Frame, LabelSpace

BUNDLE = ModelBundle(
    name="scripted",
    input_size=(50, 100),
    label_space=LabelSpace(("car", "pedestrian"), (True, True)),
    mask_side=2,
    mask_context=1.0,
    embedding_length=2,
    max_detections=6,
    method="none",
    supervision="none",
    training=TrainingRecord("", "", "", {}),
    thresholds=Thresholds(),
)


def outputs(boxes: list[list[float]], scores: list[float], classes: list[int] | None = None) -> RawOutputs:
    """Full masks on `boxes`, in input pixels, and padding rows up to six."""
    count, rows = len(boxes), BUNDLE.max_detections
    padded = np.zeros((rows, 4), np.float32)
    padded[:count] = np.array(boxes, np.float32).reshape(count, 4)
    class_ids = np.zeros(rows, np.int32)
    class_ids[:count] = classes if classes is not None else [0] * count
    return RawOutputs(
        padded,
        np.array(scores + [0.0] * (rows - count), np.float32),
        class_ids,
        np.ones((rows, 2, 2), np.float32),
        padded,
        np.tile(np.array([[0.6, 0.8]], np.float32), (rows, 1)),
    )


class Scripted:
    """A backend that gives one list of outputs after the other, and remembers what it was shown."""

    name = "scripted"

    def __init__(self, *script: list[RawOutputs]) -> None:
        self.script = list(script)
        self.shown: list[np.ndarray] = []

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        self.shown.append(batch.copy())
        return self.script.pop(0)

    def close(self) -> None:
        pass


def frame(index: int, source: str = "front", size: tuple[int, int] = (50, 100), grey: int = 0) -> Frame:
    return Frame(np.full((*size, 3), grey, np.uint8), index * 10**8, source, index)


ONE = outputs([[10, 10, 30, 30]], [0.95])


def test_one_frame_by_hand():
    # Image 100 x 200, input 50 x 100: boxes double. The pedestrian at 0.99 is painted first.
    raw = outputs([[10, 10, 30, 30], [20, 20, 40, 40], [60, 10, 80, 20]], [0.95, 0.99, 0.2], [0, 1, 0])
    shown = frame(0, size=(100, 200))
    result = Pipeline(Scripted([raw]), BUNDLE)(shown)
    assert result.frame is shown
    assert result.segments.boxes[1:].tolist() == [[40, 40, 80, 80], [20, 20, 60, 60]]
    assert result.segments.class_ids.tolist() == [-1, 1, 0]
    assert result.segments.track_ids.tolist() == [0, 1, 2]
    assert np.bincount(result.segments.ids.ravel()).tolist() == [100 * 200 - 1600 - 1200, 1600, 1200]
    assert result.instances.boxes.tolist() == result.segments.boxes[1:].tolist()
    assert result.instances.scores.tolist() == result.segments.scores[1:].tolist()
    assert result.broken == 0
    assert tuple(result.timings_ms) == STAGES
    assert min(result.timings_ms.values()) >= 0


def test_the_network_sees_the_letterboxed_image():
    backend = Scripted([ONE], [ONE])
    pipeline = Pipeline(backend, BUNDLE)
    pipeline(frame(0, size=(100, 100), grey=9))
    pipeline(frame(1, size=(25, 100), grey=8))
    assert backend.shown[0].shape == (1, 50, 100, 3)
    assert (backend.shown[0][0, :, :50] == 9).all()
    assert (backend.shown[0][0, :, 50:] == 114).all()
    assert (backend.shown[1][0, :25] == 8).all()
    assert (backend.shown[1][0, 25:] == 114).all()


def test_weak_detections_hide_nothing():
    # At 0.85 the first would cover the second entirely, if it were painted.
    raw = outputs([[10, 10, 30, 30], [12, 12, 28, 28]], [0.85, 0.95])
    result = Pipeline(Scripted([raw]), BUNDLE)(frame(0))
    assert len(result.segments) == 1
    assert result.segments.boxes[1].tolist() == [12, 12, 28, 28]


def test_untracked_objects_on_demand():
    raw = outputs([[10, 10, 30, 30], [50, 10, 70, 30], [80, 10, 95, 30]], [0.85, 0.95, 0.4])
    settings = PipelineSettings(keep_untracked=True, untracked_min_score=0.6)
    result = Pipeline(Scripted([raw]), BUNDLE, settings)(frame(0))
    assert result.segments.track_ids.tolist() == [0, 1, 0]
    assert result.segments.scores == pytest.approx([0, 0.95, 0.85])
    # A higher limit for untracked objects does not take tracked ones away.
    settings = PipelineSettings(keep_untracked=True, untracked_min_score=0.97)
    assert Pipeline(Scripted([raw]), BUNDLE, settings)(frame(0)).segments.track_ids.tolist() == [0, 1]


def test_hidden_objects_get_no_track():
    # The second lies under the first: no pixel, so no row, no instance, no id.
    raw = outputs([[10, 10, 30, 30], [12, 12, 28, 28], [50, 10, 70, 30]], [0.99, 0.95, 0.92])
    result = Pipeline(Scripted([raw]), BUNDLE)(frame(0))
    assert result.segments.track_ids.tolist() == [0, 1, 2]
    assert result.instances.boxes[:, 0].tolist() == [10, 50]


def test_empty_frames_age_tracks():
    nothing = [outputs([], [])]
    settings = PipelineSettings(tracker=TrackerSettings(window=2))
    pipeline = Pipeline(Scripted([ONE], nothing, [ONE], nothing, nothing, [ONE]), BUNDLE, settings)
    ids = [pipeline(frame(index)).segments.track_ids.tolist() for index in range(6)]
    assert ids == [[0, 1], [0], [0, 1], [0], [0], [0, 2]]


def test_each_camera_has_its_tracker():
    left = outputs([[10, 10, 30, 30], [50, 10, 70, 30]], [0.95, 0.99])
    backend = Scripted([ONE, left], [left, ONE], [ONE])
    pipeline = Pipeline(backend, BUNDLE)
    front, side = pipeline.batch([frame(0), frame(0, "left", size=(100, 200))])
    assert backend.shown[0].shape == (2, 50, 100, 3)
    assert front.segments.track_ids.tolist() == [0, 1]
    assert side.segments.track_ids.tolist() == [0, 1, 2]
    assert front.segments.ids.shape == (50, 100)
    assert side.segments.ids.shape == (100, 200)
    assert front.timings_ms["network"] == side.timings_ms["network"]
    # The other way round, and then one camera alone: sources count, not places.
    side, front = pipeline.batch([frame(1, "left", size=(100, 200)), frame(1)])
    assert side.segments.track_ids.tolist() == [0, 1, 2]
    assert front.segments.track_ids.tolist() == [0, 1]
    assert pipeline(frame(2)).segments.track_ids.tolist() == [0, 1]
    assert backend.shown[2].shape == (1, 50, 100, 3)
    assert pipeline.batch([]) == []


def test_reset_of_one_and_of_all():
    pipeline = Pipeline(Scripted(*[[ONE]] * 3, *[[outputs([[60, 10, 90, 30]], [0.95])]] * 4), BUNDLE)
    assert pipeline(frame(0)).segments.track_ids[1] == 1
    assert pipeline(frame(0, "left")).segments.track_ids[1] == 1
    pipeline.reset("front")
    assert pipeline(frame(1)).segments.track_ids[1] == 1
    assert pipeline(frame(1, "left")).segments.track_ids[1] == 2  # somewhere else: a new one; left was not reset
    assert pipeline(frame(2)).segments.track_ids[1] == 2
    pipeline.reset()
    assert pipeline(frame(2, "left")).segments.track_ids[1] == 1
    assert pipeline(frame(3)).segments.track_ids[1] == 1
    pipeline.reset("never seen")


def test_image_size_may_change_mid_stream():
    pipeline = Pipeline(Scripted([ONE], [ONE], [ONE]), BUNDLE)
    for index, size in enumerate([(50, 100), (200, 400), (25, 50)]):
        result = pipeline(frame(index, size=size))
        assert result.segments.ids.shape == size
        assert result.segments.track_ids.tolist() == [0, 1]
        assert result.segments.boxes[1, 0] == 10 * size[0] / 50


def test_a_network_that_gives_nonsense_is_survived_and_counted():
    raw = outputs([[10, 10, 30, 30], [50, 10, 70, 30], [60, 10, 70, 30]], [0.95, 0.99, 0.99], [0, 0, 7])
    raw.boxes[1, 2] = np.nan
    result = Pipeline(Scripted([raw]), BUNDLE)(frame(0))
    assert result.broken == 2
    assert result.segments.boxes[1:].tolist() == [[10, 10, 30, 30]]


def test_padding_never_becomes_an_object():
    settings = PipelineSettings(tracker=TrackerSettings(min_score=0.0))
    raw = outputs([[10, 10, 30, 30]], [0.95])
    raw.boxes[3] = [50, 10, 70, 30]  # score 0
    result = Pipeline(Scripted([raw]), BUNDLE, settings)(frame(0))
    assert len(result.segments) == 1


def test_settings_change_between_frames_and_keep_tracks():
    shifted = outputs([[20, 10, 40, 30]], [0.95])  # IoU with ONE: 10 of 30
    pipeline = Pipeline(Scripted([ONE], [ONE], [ONE], [shifted], [ONE]), BUNDLE)
    assert pipeline(frame(0)).segments.track_ids.tolist() == [0, 1]
    usual = pipeline.settings
    pipeline.settings = dataclasses.replace(usual, tracker=TrackerSettings(min_score=0.99))
    assert len(pipeline(frame(1)).segments) == 0
    pipeline.settings = usual
    assert pipeline(frame(2)).segments.track_ids.tolist() == [0, 1]
    assert pipeline(frame(3)).segments.track_ids.tolist() == [0, 1]
    pipeline.settings = dataclasses.replace(usual, tracker=TrackerSettings(min_similarity=0.5))
    assert pipeline(frame(4)).segments.track_ids.tolist() == [0, 2]


def test_default_settings_are_the_bundles():
    bundle = dataclasses.replace(BUNDLE, thresholds=Thresholds(0.7, 0.4, 0.2, visible=0.6, certainty=0.3))
    settings = default_settings(bundle)
    assert (settings.tracker.min_score, settings.tracker.min_similarity) == (0.7, 0.2)
    fusion = settings.fusion
    assert (fusion.mask_threshold, fusion.min_visible, fusion.min_certainty) == (0.4, 0.6, 0.3)
    assert Pipeline(Scripted(), bundle).settings == settings
    with pytest.raises(InputError, match=r"untracked_min_score: expected 0.01 to 1, got 0"):
        PipelineSettings(untracked_min_score=0.0)


def test_results_outlive_the_next_frame():
    first = outputs([[10, 10, 30, 30]], [0.95])
    pipeline = Pipeline(Scripted([first], [ONE]), BUNDLE)
    result = pipeline(frame(0))
    ids, masks = result.segments.ids.copy(), result.instances.masks.copy()
    first.masks[:] = 0.0  # a backend that uses its memory again
    pipeline(frame(1))
    assert (result.segments.ids == ids).all()
    assert (result.instances.masks == masks).all()


# ---- panoptic models

PANOPTIC = dataclasses.replace(
    BUNDLE,
    input_size=(48, 100),
    label_space=LabelSpace(("car", "road", "sky"), (True, False, False)),
    outputs=(*OUTPUTS, "semantic"),
)


def street(boxes: list[list[float]], scores: list[float], classes: list[int] | None = None) -> RawOutputs:
    """Sky above line 24 of the input, road below it; of what is on the road the network knows that it is a thing."""
    semantic = np.zeros((3, 12, 25), np.uint8)
    semantic[2, :6], semantic[1, 6:] = 230, 204
    for x0, y0, x1, y1 in boxes:
        cells = np.s_[:, round(y0 / 4) : round(y1 / 4), round(x0 / 4) : round(x1 / 4)]
        semantic[cells] = np.array([240, 10, 5], np.uint8)[:, None, None]
    return dataclasses.replace(outputs(boxes, scores, classes), semantic=semantic)


def test_things_then_stuff_by_hand():
    # Image 96 x 200, twice the input: the car has 40 x 40 pixels, 40 x 24 of them below the horizon at line 48.
    pipeline = Pipeline(Scripted([street([[20, 16, 40, 36]], [0.95])]), PANOPTIC)
    result = pipeline(frame(0, size=(96, 200)))
    segments = result.segments
    assert segments.class_ids.tolist() == [-1, 0, 1, 2]
    assert segments.track_ids.tolist() == [0, 1, 0, 0]
    assert segments.boxes[1:].tolist() == [[40, 32, 80, 72], [0, 48, 200, 96], [0, 0, 200, 48]]
    assert segments.scores == pytest.approx([0, 0.95, 204 / 255, 230 / 255])
    areas = np.bincount(segments.ids.ravel(), minlength=4).tolist()
    assert areas[1] == 1600
    # Where "a thing" reaches half a pixel beyond its mask, nothing is known; elsewhere every pixel has its class.
    assert areas[0] <= 4 * 40
    assert abs(areas[2] - (200 * 48 - 40 * 24)) <= 80
    assert len(result.instances) == 1
    assert tuple(result.timings_ms) == STAGES


def test_an_object_without_a_track_leaves_its_pixels_to_stuff_or_to_nobody():
    # Below the score no object is there: what the semantic branch calls a thing is void, what it calls road is road.
    unsure = street([[20, 28, 40, 36]], [0.5])
    missed = dataclasses.replace(unsure, semantic=street([], []).semantic)
    pipeline = Pipeline(Scripted([unsure], [missed]), PANOPTIC)
    first, second = pipeline(frame(0, size=(48, 100))), pipeline(frame(1, size=(48, 100)))
    assert first.segments.class_ids.tolist() == [-1, 1, 2]
    assert (first.segments.ids[30:34, 24:36] == 0).all()
    assert (second.segments.ids[24:] == 1).all()
    assert (second.segments.ids > 0).all()


def test_tracks_do_not_see_stuff():
    frames = [street([[20 + 4 * step, 28, 40 + 4 * step, 36]], [0.95]) for step in range(3)]
    bare = [dataclasses.replace(raw, semantic=None) for raw in frames]
    with_stuff = Pipeline(Scripted(*([raw] for raw in frames)), PANOPTIC)
    without = Pipeline(Scripted(*([raw] for raw in bare)), dataclasses.replace(PANOPTIC, outputs=OUTPUTS))
    for index in range(3):
        one, other = with_stuff(frame(index, size=(48, 100))), without(frame(index, size=(48, 100)))
        assert one.segments.track_ids[:2].tolist() == other.segments.track_ids.tolist() == [0, 1]
        assert ((one.segments.ids == 1) == (other.segments.ids == 1)).all()
        assert (one.instances.boxes == other.instances.boxes).all()


def test_an_object_of_a_stuff_class_is_nonsense():
    result = Pipeline(Scripted([street([[20, 28, 40, 36]], [0.95], [1])]), PANOPTIC)(frame(0, size=(48, 100)))
    assert result.broken == 1
    assert result.segments.class_ids.tolist() == [-1, 1, 2]
