"""Other people's trackers behind one call. They are no dependency of the project; absent ones are skipped by name.

    python3 -m venv peers && peers/bin/pip install trackers norfair lap trackeval pycocotools scipy opencv-python PyYAML

SORT and ByteTrack are Roboflow's `trackers` (Apache-2.0), Norfair is Tryolabs' (BSD-3). None of them knows classes, so
one instance runs per class (Norfair has labels). All are told the frame rate; none can be told the time of a frame.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wsperception.types import Instances

Ids = list[np.ndarray]
"""Per frame (N,) int64 track ids, 0 = none."""
Update = Callable[[Instances], np.ndarray]
"""One frame of one sequence: detections in, (N,) track ids out."""


def sort(rate_hz: float, settings: Mapping[str, Any]) -> Update:
    """SORT (Bewley et al., 2016)."""
    from trackers import SORTTracker

    return _roboflow(SORTTracker, _at_rate(rate_hz, settings), float(settings.get("min_score", 0.0)))


def bytetrack(rate_hz: float, settings: Mapping[str, Any]) -> Update:
    """ByteTrack (Zhang et al., 2022)."""
    from trackers import ByteTrackTracker

    return _roboflow(ByteTrackTracker, _at_rate(rate_hz, settings), 0.0)


def norfair(rate_hz: float, settings: Mapping[str, Any]) -> Update:
    """Norfair with its IoU distance on boxes."""
    import norfair as package

    tracker = package.Tracker(
        distance_function="iou",
        distance_threshold=settings["distance_threshold"],
        hit_counter_max=max(1, round(settings["lost_s"] * rate_hz)),
        initialization_delay=settings["initialization_delay"],
    )
    min_score = float(settings["min_score"])

    def update(instances: Instances) -> np.ndarray:
        ids = np.zeros(len(instances), np.int64)
        found = [
            package.Detection(points=box.reshape(2, 2), data=row, label=int(class_id))
            for row, (box, class_id, score) in enumerate(
                zip(instances.boxes.astype(float), instances.class_ids, instances.scores, strict=True)
            )
            if score >= min_score
        ]
        current = {id(entry) for entry in found}
        for track in tracker.update(found):
            if id(track.last_detection) in current:
                ids[track.last_detection.data] = track.id
        return ids

    return update


PEERS: dict[str, Callable[[float, Mapping[str, Any]], Update]] = {
    "SORT": sort,
    "ByteTrack": bytetrack,
    "Norfair": norfair,
}

OWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "SORT": {
        "min_score": 0.25,
        "lost_s": 1.0,
        "track_activation_threshold": 0.25,
        "minimum_consecutive_frames": 3,
        "minimum_iou_threshold": 0.3,
    },
    "ByteTrack": {
        "lost_s": 1.0,
        "track_activation_threshold": 0.7,
        "minimum_consecutive_frames": 2,
        "minimum_iou_threshold": 0.1,
        "high_conf_det_threshold": 0.6,
    },
    "Norfair": {"min_score": 0.5, "lost_s": 0.5, "distance_threshold": 0.7, "initialization_delay": 3},
}
"""The packages' own defaults, times in seconds instead of frames at 30 Hz."""


def _at_rate(rate_hz: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Their arguments: `lost_track_buffer` is in frames at 30 Hz and scaled by `frame_rate` inside."""
    given = {key: value for key, value in settings.items() if key not in ("lost_s", "min_score")}
    return {**given, "lost_track_buffer": round(30 * settings["lost_s"]), "frame_rate": rate_hz}


def _roboflow(kind: Any, arguments: Mapping[str, Any], min_score: float) -> Update:
    import supervision

    trackers = {class_id: kind(**arguments) for class_id in (0, 1)}
    names: dict[tuple[int, int], int] = {}

    def update(instances: Instances) -> np.ndarray:
        ids = np.zeros(len(instances), np.int64)
        for class_id, tracker in trackers.items():
            rows = np.flatnonzero((instances.class_ids == class_id) & (instances.scores >= min_score))
            given = supervision.Detections(
                xyxy=instances.boxes[rows].astype(float),
                confidence=instances.scores[rows].astype(float),
                data={"row": rows},
            )
            result = tracker.update(given)
            if len(result) == 0:
                continue
            for row, track_id in zip(result.data["row"], result.tracker_id, strict=True):
                if track_id >= 0:
                    ids[row] = names.setdefault((class_id, int(track_id)), len(names) + 1)
        return ids

    return update


def available() -> Sequence[str]:
    """Names of the peers whose packages are installed."""
    import importlib.util

    packages = {"SORT": "trackers", "ByteTrack": "trackers", "Norfair": "norfair"}
    return [name for name, package in packages.items() if importlib.util.find_spec(package)]
