"""The table of living tracks of the full association."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from wsperception.tracking import motion as kalman
from wsperception.tracking.gallery import NO_GALLERY, Gallery
from wsperception.tracking.motion import NO_MOTION, Motion
from wsperception.tracking.terms import CELLS


@dataclass(frozen=True, eq=False)
class FullTracks:
    """The living tracks, T of them.

    ids        (T,) int32     0 while tentative
    class_ids  (T,) int32
    motion     where they are believed to be at `stamp_ns`
    first_ns   (T,) int64     stamp of the first detection
    last_ns    (T,) int64     stamp of the most recent one
    scores     (T,) float32   how clearly it was seen of late: the score, smoothed
    shapes     (T, CELLS, CELLS) bool  the most recent silhouette
    gallery    embeddings
    stamp_ns   stamp of the frame that these tracks know
    """

    ids: np.ndarray
    class_ids: np.ndarray
    motion: Motion
    first_ns: np.ndarray
    last_ns: np.ndarray
    scores: np.ndarray
    shapes: np.ndarray
    gallery: Gallery
    stamp_ns: int

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> "FullTracks":
        """The tracks at `rows`, integers."""
        return FullTracks(
            self.ids[rows],
            self.class_ids[rows],
            self.motion.select(rows),
            self.first_ns[rows],
            self.last_ns[rows],
            self.scores[rows],
            self.shapes.take(rows, 0),
            self.gallery.select(rows),
            self.stamp_ns,
        )


NO_FULL_TRACKS = FullTracks(
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
    NO_MOTION,
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.float32),
    np.zeros((0, CELLS, CELLS), bool),
    NO_GALLERY,
    0,
)


def joined(tracks: FullTracks, new: FullTracks) -> FullTracks:
    """The tracks of both, at the stamp of the new ones."""
    if len(new) == 0:
        return tracks
    if len(tracks) == 0:
        return new
    return FullTracks(
        np.concatenate([tracks.ids, new.ids]),
        np.concatenate([tracks.class_ids, new.class_ids]),
        kalman.joined(tracks.motion, new.motion),
        np.concatenate([tracks.first_ns, new.first_ns]),
        np.concatenate([tracks.last_ns, new.last_ns]),
        np.concatenate([tracks.scores, new.scores]),
        np.concatenate([tracks.shapes, new.shapes]),
        tracks.gallery.joined(new.gallery),
        new.stamp_ns,
    )


def moved(tracks: FullTracks, transform: np.ndarray) -> FullTracks:
    """The same tracks in an image that the camera's motion (2, 3) has moved."""
    return dataclasses.replace(tracks, motion=kalman.moved(tracks.motion, transform))


def resized(tracks: FullTracks, scale_x: float, scale_y: float) -> FullTracks:
    """The same tracks in an image that was resized."""
    return dataclasses.replace(tracks, motion=kalman.resized(tracks.motion, scale_x, scale_y))
