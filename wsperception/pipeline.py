"""The one path from a camera frame to segments with track ids: node, command line, benchmark and evaluation call it."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsperception.backends import Network
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs, broken_rows, decode, decode_stuff
from wsperception.fusion import Fused, FusionSettings, fill_with_stuff, fuse
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
        """Detections below are dropped at once."""
        return max(min(self.painted_score, self.tracker.lowest_score), 1e-6)  # the network pads with rows of score 0

    @property
    def painted_score(self) -> float:
        """Detections below get pixels only when the tracker knows them; until then they hide nothing."""
        if self.keep_untracked:
            return min(self.tracker.min_score, self.untracked_min_score)
        return self.tracker.min_score


@dataclass(frozen=True, eq=False)
class Result:
    """What the path gives for one frame.

    frame       the input
    segments    disjoint objects with track ids, by falling score; of panoptic models, stuff behind them
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

    def __init__(self, backend: Network, bundle: ModelBundle, settings: PipelineSettings | None = None) -> None:
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
        labels, settings = self._bundle.label_space, self._settings
        classes = labels.thing_count if self._bundle.is_panoptic else len(labels)
        start = time.perf_counter()
        stuff = decode_stuff(raw.semantic, placing) if raw.semantic is not None else None
        broken = int(broken_rows(raw, settings.min_score, classes).sum())
        found = decode(raw, placing, settings.min_score, classes)
        timings_ms["decode"] = _ms_since(start)
        start = time.perf_counter()
        fused, candidates = _paint(found, settings)
        timings_ms["fuse"] = _ms_since(start)
        start = time.perf_counter()
        track_ids = self._track(fused, candidates, frame)
        timings_ms["track"] = _ms_since(start)
        start = time.perf_counter()
        segments, instances = _published(fused, candidates, track_ids, settings)
        if stuff is not None:
            segments = fill_with_stuff(segments, stuff, labels.thing_count, settings.fusion)
        timings_ms["fuse"] += _ms_since(start)
        return Result(frame, segments, instances, timings_ms, broken)

    def _track(self, fused: Fused, candidates: Instances, frame: Frame) -> np.ndarray:
        """Track ids (N,) of the candidates."""
        tracker = self._trackers.get(frame.source)
        if tracker is None:
            tracker = self._trackers[frame.source] = Tracker(self._settings.tracker)
        return tracker.update(candidates, frame.stamp_ns, fused.segments.ids, frame.image)


def _paint(found: Instances, settings: PipelineSettings) -> tuple[Fused, Instances]:
    """What is sure enough to be painted, fused; and the detections to be tracked.

    Row r of the candidates is segment row r + 1; behind them come the detections that are too weak to be painted.
    """
    strong = found.scores >= settings.painted_score
    if strong.all():
        fused = fuse(found, settings.fusion)
        return fused, found.select(fused.instance_rows)
    rows = np.flatnonzero(strong)
    fused = fuse(found.select(rows), settings.fusion)
    return fused, found.select(np.concatenate([rows[fused.instance_rows], np.flatnonzero(~strong)]))


def _published(
    fused: Fused, candidates: Instances, track_ids: np.ndarray, settings: PipelineSettings
) -> tuple[SegmentMap, Instances]:
    """The segments with their ids, and the detections they were made from.

    Painted objects that the tracker does not trust yet make room, and weak ones that it knows are painted.
    """
    shown = track_ids > 0
    if settings.keep_untracked:
        shown = shown | (candidates.scores >= settings.untracked_min_score)
    painted = np.arange(len(candidates)) < len(fused.segments)
    rows = np.flatnonzero(shown)
    if (shown != painted).any():
        fused = fuse(candidates.select(rows), settings.fusion)
        rows = rows[fused.instance_rows]
    if len(rows) != len(candidates):
        candidates, track_ids = candidates.select(rows), track_ids[rows]
    return dataclasses.replace(fused.segments, track_ids=np.append(np.int32(0), track_ids)), candidates


def default_settings(bundle: ModelBundle) -> PipelineSettings:
    """Settings with the thresholds that the model was validated with."""
    thresholds = bundle.thresholds
    return PipelineSettings(
        TrackerSettings(min_score=thresholds.score, min_similarity=thresholds.similarity),
        FusionSettings(
            mask_threshold=thresholds.mask, min_visible=thresholds.visible, min_certainty=thresholds.certainty
        ),
    )


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
