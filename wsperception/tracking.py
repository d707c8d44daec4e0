"""Track ids by association of detections over time, after WSMOTS section 3, Eq. 3 and 4."""

from dataclasses import dataclass

import lap
import numpy as np

from wsperception.errors import InputError
from wsperception.geometry import box_iou, scale_boxes
from wsperception.settings import check, setting
from wsperception.types import Instances


@dataclass(frozen=True)
class TrackerSettings:
    """Defaults are those of WSMOTS, Table 1; `min_similarity` and `max_id` are ours."""

    min_score: float = setting(0.9, "Detections with a lower score are not tracked", low=0.0, high=1.0)
    window: int = setting(
        10, "A track ends when it was not seen for more frames than this", unit="frames", low=1, high=10_000
    )
    min_similarity: float = setting(
        0.0, "Pairs whose similarity (box IoU times cosine) is this or less are never matched", low=0.0, high=1.0
    )
    max_id: int = setting(65535, "After this id counting starts again at 1, skipping living tracks", low=1, high=65535)

    def __post_init__(self) -> None:
        check(self)


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


class Tracker:
    """Gives detections the ids of tracks, frame by frame; one tracker per camera.

    Call `update` for every frame, also for an empty one: that is how tracks age. The same frames give the same ids.
    Ids count from 1. `settings` may be replaced between frames; the tracks stay.
    """

    def __init__(self, settings: TrackerSettings = TrackerSettings()) -> None:
        self.settings = settings
        self._tracks = NO_TRACKS
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next frame is treated as the first of a new sequence, with ids from 1."""
        self._tracks = NO_TRACKS
        self._frame = 0
        self._next_id = 1
        self._stamp_ns: int | None = None
        self._image_size: tuple[int, int] | None = None

    def update(self, instances: Instances, stamp_ns: int) -> np.ndarray:
        """Track ids of the next frame's detections.

        instances  N detections
        stamp_ns   time of the frame

        Returns (N,) int32, one id per row: 0 where the score is below `min_score`, otherwise the id of the matched
        track or, where none matches, a new one, counted up in row order.

        Time: a stamp before the previous one (a bag that starts again) ends all tracks; ids go on counting, so that no
        id names two objects in one stream. An equal stamp (a camera that sends none) counts as the next frame. The
        window is counted in frames, as in the paper, not in seconds. When the image size changes, the tracks' boxes
        are scaled along.
        """
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self._tracks = NO_TRACKS
        self._stamp_ns = stamp_ns
        self._frame += 1
        self._follow_image_size(instances.image_size)
        tracks = self._tracks.select(self._tracks.last_seen >= self._frame - self.settings.window)
        ids = np.zeros(len(instances), np.int32)
        rows = np.flatnonzero(instances.scores >= self.settings.min_score)
        detections = instances if len(rows) == len(instances) else instances.select(rows)
        if len(tracks) and len(rows):
            track_rows, columns = assign(similarity(tracks, detections), self.settings.min_similarity)
            ids[rows[columns]] = tracks.ids[track_rows]
        living = set(tracks.ids.tolist())
        for row in rows[ids[rows] == 0]:
            ids[row] = self._new_id(living)
        self._tracks = _renew(tracks, detections, ids[rows], self._frame)
        return ids

    def _follow_image_size(self, image_size: tuple[int, int]) -> None:
        if self._image_size not in (None, image_size) and len(self._tracks):
            old_height, old_width = self._image_size  # type: ignore[misc]
            boxes = scale_boxes(self._tracks.boxes, image_size[1] / old_width, image_size[0] / old_height)
            old = self._tracks
            self._tracks = Tracks(old.ids, old.class_ids, boxes, old.embeddings, old.last_seen)
        self._image_size = image_size

    def _new_id(self, living: set[int]) -> int:
        """The next free id, which is added to `living`."""
        if len(living) >= self.settings.max_id:
            raise InputError(f"max_id: {self.settings.max_id} tracks live at once, no id is left")
        while True:
            candidate = self._next_id if self._next_id <= self.settings.max_id else 1
            self._next_id = candidate + 1
            if candidate not in living:
                living.add(candidate)
                return candidate


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


def assign(sim: np.ndarray, min_similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one matching with the greatest sum of (Sim - min_similarity) over pairs above `min_similarity`.

    sim  (T, N) float in [0, 1]

    Returns track rows (K,) and detection rows (K,), by track; empty if T or N is 0 or no pair is above.

    WSMOTS Eq. 4: Cost = max Sim - Sim, solved by the Hungarian algorithm. Deviation: pairs at or below
    `min_similarity`, which the paper would match as well, are forbidden.
    """
    allowed = sim > min_similarity
    lines, columns = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
    if len(lines) == 0:
        return lines, columns
    # A forbidden pair is priced exactly at the limit, as no pair at all would be. A huge price would make the solver
    # spoil a good pair merely to refuse one pair fewer. Gating in lap itself (cost_limit) took 60 times as long.
    candidates = sim[np.ix_(lines, columns)].astype(np.float64)
    cost = candidates.max() - np.maximum(candidates, min_similarity)
    matched, _ = lap.lapjv(cost, extend_cost=True, return_cost=False)
    chosen = np.flatnonzero(matched >= 0)
    partners = matched[chosen]
    above = candidates[chosen, partners] > min_similarity
    return lines[chosen[above]], columns[partners[above]]


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
