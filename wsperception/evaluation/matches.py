"""Who was found by whom, frame by frame: what the report's timelines and pictures show.

TrackEval's metrics give numbers only. The same pairs are found again here: masks are disjoint, so
above an IoU of 0.5 a pair is unique.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wsperception.evaluation.mots import MotsScores
from wsperception.evaluation.mots_frames import ClassFrames, match

MISSED = -1
"""In place of a predicted track id: the object was not found."""


@dataclass(frozen=True, eq=False)
class TrackRow:
    """One ground truth track over time.

    truth_id   its id
    frames     (K,) int64   frames in which it is visible, rising
    predicted  (K,) int64   id of the prediction that found it, or MISSED
    switched   (K,) bool    found, but by another id than the last time: an id switch
    """

    truth_id: int
    frames: np.ndarray
    predicted: np.ndarray
    switched: np.ndarray


@dataclass(frozen=True)
class FrameErrors:
    """What went wrong in one frame, over all classes.

    missed    ids of ground truth objects that no prediction found
    false     ids of predictions that found nothing and lie in no ignore region
    switched  ids of predictions that took over a ground truth track
    pairs     (ground truth id, predicted id) of what was found
    ignored   ids of predictions that ignore regions took out
    loss      sum of 1 - IoU over the pairs
    """

    sequence: str
    frame: int
    missed: tuple[int, ...]
    false: tuple[int, ...]
    switched: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    ignored: tuple[int, ...]
    loss: float

    @property
    def count(self) -> int:
        """Missed objects, false predictions and id switches."""
        return len(self.missed) + len(self.false) + len(self.switched)


def track_rows(frames: ClassFrames, threshold: float) -> list[TrackRow]:
    """The ground truth tracks of one class and sequence, in order of first appearance; empty without ground truth."""
    seen: dict[int, list[tuple[int, int]]] = {}  # truth id -> (frame, predicted id)
    for position, frame in enumerate(frames.frames):
        found = dict(_pairs(frames, position, threshold))
        for truth_id in frames.truth_ids[position].tolist():
            seen.setdefault(truth_id, []).append((frame, found.get(truth_id, MISSED)))
    return [_track_row(truth_id, entries) for truth_id, entries in seen.items()]


def frame_errors(scores: MotsScores) -> list[FrameErrors]:
    """Every frame of every sequence in which something is wrong, in order."""
    return [
        errors
        for sequence, classes in scores.frames.items()
        for errors in _errors_of_sequence(sequence, list(classes.values()), scores.threshold)
        if errors.count
    ]


def worst_frames(errors: Iterable[FrameErrors], count: int, apart: int = 10) -> list[FrameErrors]:
    """The `count` frames with the most errors, then the greatest loss; at least `apart` frames apart in a sequence."""
    chosen: list[FrameErrors] = []
    for entry in sorted(errors, key=lambda entry: (-entry.count, -entry.loss, entry.sequence, entry.frame)):
        if len(chosen) == count:
            break
        if all(entry.sequence != other.sequence or abs(entry.frame - other.frame) >= apart for other in chosen):
            chosen.append(entry)
    return chosen


def _track_row(truth_id: int, entries: list[tuple[int, int]]) -> TrackRow:
    frames, predicted = np.array(entries, np.int64).T  # (K,) each
    switched = np.zeros(len(frames), bool)
    found = np.flatnonzero(predicted != MISSED)
    switched[found[1:]] = predicted[found[1:]] != predicted[found[:-1]]
    return TrackRow(truth_id, frames, predicted, switched)


def _errors_of_sequence(sequence: str, classes: list[ClassFrames], threshold: float) -> list[FrameErrors]:
    last: dict[tuple[int, int], int] = {}  # (class, truth id) -> the prediction that found it last
    result = []
    for position, frame in enumerate(classes[0].frames):
        missed, false, switched, ignored = [], [], [], []
        pairs: list[tuple[int, int]] = []
        loss = 0.0
        for number, frames in enumerate(classes):
            ious = frames.ious[position]
            rows, columns = match(ious, threshold)
            truth_ids, predicted_ids = frames.truth_ids[position].tolist(), frames.predicted_ids[position].tolist()
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                key, found = (number, truth_ids[row]), predicted_ids[column]
                if last.get(key, found) != found:
                    switched.append(found)
                last[key] = found
                pairs.append((truth_ids[row], found))
            missed += np.delete(truth_ids, rows).tolist()
            false += np.delete(predicted_ids, columns).tolist()
            ignored += frames.ignored_ids[position].tolist()
            loss += float((1.0 - ious[rows, columns]).sum())
        parts = (tuple(missed), tuple(false), tuple(switched), tuple(pairs), tuple(ignored))
        result.append(FrameErrors(sequence, frame, *parts, loss))
    return result


def _pairs(frames: ClassFrames, position: int, threshold: float) -> list[tuple[int, int]]:
    rows, columns = match(frames.ious[position], threshold)
    truth_ids, predicted_ids = frames.truth_ids[position], frames.predicted_ids[position]
    return list(zip(truth_ids[rows].tolist(), predicted_ids[columns].tolist(), strict=True))
