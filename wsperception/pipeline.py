"""The one path from a camera frame to segments with track ids: node, command line, benchmark and evaluation call it."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsperception.backends import Backend
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs, broken_rows, decode
from wsperception.fusion import Fused, FusionSettings, fuse
from wsperception.preprocess import Letterbox, letterbox
from wsperception.settings import check, setting
from wsperception.tracking import Tracker, TrackerSettings
from wsperception.types import Frame, Instances, SegmentMap

STAGES = ("letterbox", "network", "decode", "fuse", "track")
"""Keys of `Result.timings_ms`, in the order of the path."""


@dataclass(frozen=True)
class PipelineSettings:
    """What happens behind the network. `default_settings` gives a model's own values."""

    tracker: TrackerSettings = dataclasses.field(default_factory=TrackerSettings)
    fusion: FusionSettings = dataclasses.field(default_factory=FusionSettings)
    keep_untracked: bool = setting(False, "Also give objects below the tracker's score, with track id 0")
    untracked_min_score: float = setting(0.5, "Lowest score of objects that are kept untracked", low=0.01, high=1.0)

    def __post_init__(self) -> None:
        check(self)

    @property
    def min_score(self) -> float:
        """Detections below are dropped before fusion, so that they hide nothing."""
        lowest = self.tracker.min_score
        if self.keep_untracked:
            lowest = min(lowest, self.untracked_min_score)
        return max(lowest, 1e-6)  # the network pads its outputs with rows of score 0


@dataclass(frozen=True, eq=False)
class Result:
    """What the path gives for one frame.

    frame       the input
    segments    disjoint objects with track ids, by falling score
    instances   the detections they were made from: row r of `instances` is row r + 1 of `segments`
    timings_ms  milliseconds of each of STAGES; frames of a batch share the network's
    broken      number of detections that were dropped because the network gave NaN or nonsense
    """

    frame: Frame
    segments: SegmentMap
    instances: Instances
    timings_ms: dict[str, float]
    broken: int


class Pipeline:
    """Frames in, results out, with one tracker per `Frame.source`. Not thread-safe.

    Frames of a source must come in order; image size may change. `settings` may be replaced between frames; tracks
    stay. Does not close the backend.
    """

    def __init__(self, backend: Backend, bundle: ModelBundle, settings: PipelineSettings | None = None) -> None:
        self._backend = backend
        self._bundle = bundle
        self._settings = settings if settings is not None else default_settings(bundle)
        self._trackers: dict[str, Tracker] = {}
        self._buffer = np.empty((1, *bundle.input_size, 3), np.uint8)

    @property
    def settings(self) -> PipelineSettings:
        """The settings in force."""
        return self._settings

    @settings.setter
    def settings(self, settings: PipelineSettings) -> None:
        self._settings = settings
        for tracker in self._trackers.values():
            tracker.settings = settings.tracker

    def __call__(self, frame: Frame) -> Result:
        """The result for one frame."""
        return self.batch([frame])[0]

    def batch(self, frames: Sequence[Frame]) -> list[Result]:
        """Results for frames of several cameras, in their order, with one run of the network.

        Two frames of one source are allowed and treated as following each other. No frame gives no result.
        """
        if not frames:
            return []
        if len(self._buffer) < len(frames):
            self._buffer = np.empty((len(frames), *self._buffer.shape[1:]), np.uint8)
        placings, fitting_ms = [], []
        for frame, out in zip(frames, self._buffer, strict=False):
            start = time.perf_counter()
            placings.append(letterbox(frame.image, self._bundle.input_size, out)[1])
            fitting_ms.append(_ms_since(start))
        start = time.perf_counter()
        outputs = self._backend.run(self._buffer[: len(frames)])
        network_ms = _ms_since(start)
        assert len(outputs) == len(frames)
        return [
            self._finish(frame, raw, placing, {"letterbox": fitting, "network": network_ms})
            for frame, raw, placing, fitting in zip(frames, outputs, placings, fitting_ms, strict=True)
        ]

    def reset(self, source: str | None = None) -> None:
        """Forgets the tracks of one source, or of all; the next ids are counted from 1."""
        if source is None:
            self._trackers.clear()
        else:
            self._trackers.pop(source, None)

    def _finish(self, frame: Frame, raw: RawOutputs, placing: Letterbox, timings_ms: dict[str, float]) -> Result:
        """Everything behind the network, for one frame."""
        classes, settings = len(self._bundle.label_space), self._settings
        start = time.perf_counter()
        broken = int(broken_rows(raw, settings.min_score, classes).sum())
        found = decode(raw, placing, settings.min_score, classes)
        timings_ms["decode"] = _ms_since(start)
        start = time.perf_counter()
        fused = fuse(found, settings.fusion)
        timings_ms["fuse"] = _ms_since(start)
        start = time.perf_counter()
        instances = found.select(fused.instance_rows)
        segments = self._track(fused, instances, frame)
        timings_ms["track"] = _ms_since(start)
        return Result(frame, segments, instances, timings_ms, broken)

    def _track(self, fused: Fused, instances: Instances, frame: Frame) -> SegmentMap:
        tracker = self._trackers.get(frame.source)
        if tracker is None:
            tracker = self._trackers[frame.source] = Tracker(self._settings.tracker)
        track_ids = tracker.update(instances, frame.stamp_ns)
        return dataclasses.replace(fused.segments, track_ids=np.append(np.int32(0), track_ids))


def default_settings(bundle: ModelBundle) -> PipelineSettings:
    """Settings with the thresholds that the model was validated with."""
    thresholds = bundle.thresholds
    return PipelineSettings(
        TrackerSettings(min_score=thresholds.score, min_similarity=thresholds.similarity),
        FusionSettings(mask_threshold=thresholds.mask),
    )


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
