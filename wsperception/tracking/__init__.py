"""Track ids: the paper's association and the full one, on one `Tracker`."""

from wsperception.tracking.settings import CameraMotionSettings, FullSettings, TrackerSettings
from wsperception.tracking.tracker import Tracker, TrackStates

__all__ = ["CameraMotionSettings", "FullSettings", "TrackStates", "Tracker", "TrackerSettings"]
