"""The reference association: WSMOTS section 3, Eq. 3 and 4, on the most recent detection of every track."""

from dataclasses import dataclass

import numpy as np

from wsperception.geometry import box_iou, scale_boxes
from wsperception.tracking.assignment import assign
from wsperception.tracking.identity import IdCounter
from wsperception.tracking.settings import TrackerSettings
from wsperception.types import Instances


@dataclass(frozen=True, eq=False)
class Tracks:
    """The living tracks, oldest first, each with its most recent detection.

    ids         (T,) int32
    class_ids   (T,) int32
    boxes       (T, 4) float32
    embeddings  (T, D) float32
    last_seen   (T,) int64      number of the frame of that detection
    """

    ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    embeddings: np.ndarray
    last_seen: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> "Tracks":
        """The tracks at `rows` (indices or a Boolean mask)."""
        return Tracks(
            self.ids[rows], self.class_ids[rows], self.boxes[rows], self.embeddings[rows], self.last_seen[rows]
        )


NO_TRACKS = Tracks(
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
    np.zeros((0, 4), np.float32),
    np.zeros((0, 0), np.float32),
    np.zeros(0, np.int64),
)


def follow(
    tracks: Tracks, instances: Instances, frame: int, settings: TrackerSettings, counter: IdCounter
) -> tuple[Tracks, np.ndarray]:
    """One frame: the tracks after it and the ids (N,) int32 of its detections.

    frame  number of the frame, counted up by 1: the window is in frames, as in the paper, not in seconds

    An id is 0 where the score is below `min_score`, otherwise that of the matched track or, where none matches, a new
    one, counted up in row order.
    """
    tracks = tracks.select(tracks.last_seen >= frame - settings.window)
    ids = np.zeros(len(instances), np.int32)
    rows = np.flatnonzero(instances.scores >= settings.min_score)
    detections = instances if len(rows) == len(instances) else instances.select(rows)
    if len(tracks) and len(rows):
        track_rows, columns = assign(similarity(tracks, detections), settings.min_similarity)
        ids[rows[columns]] = tracks.ids[track_rows]
    new = rows[ids[rows] == 0]
    ids[new] = counter.take(len(new), tracks.ids, settings.max_id)
    return _renew(tracks, detections, ids[rows], frame), ids


def resized(tracks: Tracks, scale_x: float, scale_y: float) -> Tracks:
    """The same tracks in an image that was resized."""
    boxes = scale_boxes(tracks.boxes, scale_x, scale_y)
    return Tracks(tracks.ids, tracks.class_ids, boxes, tracks.embeddings, tracks.last_seen)


def similarity(tracks: Tracks, detections: Instances) -> np.ndarray:
    """Sim of every track and detection, (T, N) float32 in [0, 1]; 0 for a pair of different classes.

    WSMOTS Eq. 3: IoU of the boxes times d(a, a'), the cosine of the embeddings. Deviation: a negative cosine counts as
    0, so that an unlike pair is not matched because its boxes do not overlap either.
    """
    # Not `@`: BLAS would start threads, which wait for each other on a busy machine (300 x 300: 22 ms instead of 0.4).
    cosine = np.clip(np.einsum("td,nd->tn", tracks.embeddings, detections.embeddings), 0.0, 1.0)  # (T, N)
    same_class = tracks.class_ids[:, None] == detections.class_ids[None, :]
    sim: np.ndarray = box_iou(tracks.boxes, detections.boxes) * cosine * same_class
    return sim


def _renew(tracks: Tracks, detections: Instances, ids: np.ndarray, frame: int) -> Tracks:
    """`tracks` with the detections of `frame` in place of older ones, and new tracks behind."""
    old = ~np.isin(tracks.ids, ids)
    order = np.argsort(ids, kind="stable")
    seen = Tracks(
        ids[order],
        detections.class_ids[order],
        detections.boxes[order],
        detections.embeddings[order],
        np.full(len(ids), frame, np.int64),
    )
    if not len(seen):
        return tracks
    if not old.any():
        return seen
    kept = tracks.select(old)
    return Tracks(
        np.concatenate([kept.ids, seen.ids]),
        np.concatenate([kept.class_ids, seen.class_ids]),
        np.concatenate([kept.boxes, seen.boxes]),
        np.concatenate([kept.embeddings, seen.embeddings]),
        np.concatenate([kept.last_seen, seen.last_seen]),
    )
