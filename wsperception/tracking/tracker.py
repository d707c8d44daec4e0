"""The tracker of one camera: keeps time, image size and ids, and hands each frame to the association chosen."""

from dataclasses import dataclass

import numpy as np

from wsperception.tracking import full, full_tracks, paper
from wsperception.tracking import motion as kalman
from wsperception.tracking.camera_motion import STILL, CameraMotion
from wsperception.tracking.found import NO_LABELS
from wsperception.tracking.full_tracks import NO_FULL_TRACKS
from wsperception.tracking.identity import IdCounter
from wsperception.tracking.paper import NO_TRACKS
from wsperception.tracking.settings import TrackerSettings
from wsperception.types import Instances


@dataclass(frozen=True, eq=False)
class TrackStates:
    """The living tracks as users see them, T of them, lost and tentative ones included.

    ids         (T,) int32      0 while tentative
    class_ids   (T,) int32
    boxes       (T, 4) float32  where the track is believed to be now: predicted for one that is not seen
    velocities  (T, 2) float32  of the centre, pixels per second; 0 under the paper's association, which has no motion
    age_s       (T,) float64    since the track was first seen
    unseen_s    (T,) float64    since it was last seen; 0: seen in this frame
    confirmed   (T,) bool       has an id
    """

    ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    velocities: np.ndarray
    age_s: np.ndarray
    unseen_s: np.ndarray
    confirmed: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Tracker:
    """Gives detections the ids of tracks, frame by frame; one tracker per camera.

    Call `update` for every frame, also for an empty one: that is how tracks age. The same frames give the same ids.
    Ids count from 1. `settings` may be replaced between frames; the tracks stay, unless the association changes.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings if settings is not None else TrackerSettings()
        self._paper, self._full, self._camera = NO_TRACKS, NO_FULL_TRACKS, CameraMotion()
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next frame is treated as the first of a new sequence, with ids from 1."""
        self._counter = IdCounter()
        self._frame = 0
        self._stamp_ns: int | None = None
        self._time_ns = 0
        self._image_size: tuple[int, int] | None = None
        self._end_tracks()

    def update(
        self,
        instances: Instances,
        stamp_ns: int,
        label_map: np.ndarray = NO_LABELS,
        image: np.ndarray | None = None,
    ) -> np.ndarray:
        """Track ids of the next frame's detections.

        instances  N detections
        stamp_ns   time of the frame
        label_map  (H, W) uint16, row + 1 of the detection that a pixel shows; left out: masks take no part
        image      (H, W, 3) uint8, for the camera's motion; left out: it counts as still

        Returns (N,) int32, one id per row: 0 where the score is below `min_score` (full: `low_score`) or, in the full
        association, where the track is still tentative. Otherwise the id of the matched track, or a new one.

        Time: a stamp before the previous one (a bag that starts again) ends all tracks; ids go on counting, so that no
        id names two objects in one stream. An equal stamp (a camera that sends none) counts as the next frame, after
        `nominal_interval_s`. When the image size changes, the tracks' boxes are scaled along.
        """
        self._advance(stamp_ns)
        self._follow_image_size(instances.image_size)
        if self._association != self.settings.association:
            self._end_tracks()
        if self._association == "paper":
            self._paper, ids = paper.follow(self._paper, instances, self._frame, self.settings, self._counter)
            self._note_times(ids)
            return ids
        if image is not None:
            transform = self._camera.measured(image, self.settings.camera_motion)
            if transform is not STILL:
                self._full = full_tracks.moved(self._full, transform)
        self._full, ids = full.follow(self._full, instances, self._time_ns, label_map, self.settings, self._counter)
        return ids

    @property
    def tracks(self) -> TrackStates:
        """The living tracks after the most recent frame."""
        if self._association == "paper":
            ids = self._paper.ids
            known, times = self._times
            first_ns, last_ns = times[np.searchsorted(known, ids)].T
            boxes, velocities = self._paper.boxes, np.zeros((len(ids), 2), np.float32)
            class_ids = self._paper.class_ids
        else:
            table = self._full
            ids, class_ids, first_ns, last_ns = table.ids, table.class_ids, table.first_ns, table.last_ns
            boxes = kalman.corners(table.motion.position)
            velocities = table.motion.velocity[:, :2].astype(np.float32)
        age_s, unseen_s = (self._time_ns - first_ns) / 1e9, (self._time_ns - last_ns) / 1e9
        return TrackStates(ids, class_ids, boxes, velocities, age_s, unseen_s, ids > 0)

    def _end_tracks(self) -> None:
        self._association = self.settings.association
        self._paper, self._full = NO_TRACKS, NO_FULL_TRACKS
        self._times = (np.zeros(0, np.int32), np.zeros((0, 2), np.int64))
        self._camera = CameraMotion()

    def _advance(self, stamp_ns: int) -> None:
        """Moves the tracker's own clock: it follows the stamps, but never stands still or runs back."""
        if self._stamp_ns is None or stamp_ns > self._stamp_ns:
            # After equal stamps the own clock may be ahead.
            self._time_ns = max(stamp_ns, self._time_ns + 1) if self._stamp_ns is not None else stamp_ns
        elif stamp_ns < self._stamp_ns:
            self._end_tracks()
            self._time_ns = stamp_ns
        else:
            self._time_ns += round(self.settings.full.nominal_interval_s * 1e9)
        self._stamp_ns = stamp_ns
        self._frame += 1

    def _follow_image_size(self, image_size: tuple[int, int]) -> None:
        if self._image_size not in (None, image_size):
            old_height, old_width = self._image_size  # type: ignore[misc]
            scale_x, scale_y = image_size[1] / old_width, image_size[0] / old_height
            self._paper = paper.resized(self._paper, scale_x, scale_y)
            self._full = full_tracks.resized(self._full, scale_x, scale_y)
        self._image_size = image_size

    def _note_times(self, ids: np.ndarray) -> None:
        """Keeps first and last time of the paper's living tracks; its own table knows frames only."""
        known, times = self._times
        living = np.sort(self._paper.ids)
        renewed = np.full((len(living), 2), self._time_ns, np.int64)
        _, new_rows, old_rows = np.intersect1d(living, known, assume_unique=True, return_indices=True)
        renewed[new_rows] = times[old_rows]
        renewed[np.isin(living, ids), 1] = self._time_ns
        self._times = (living, renewed)
