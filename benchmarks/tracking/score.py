"""Scores of track ids that were given to known detections."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.tracking.detections import Detected
from wsperception.evaluation.mots import MotsScores, evaluate_frames
from wsperception.evaluation.mots_frames import ClassFrames

MEASURES = ("HOTA", "DetA", "AssA", "IDF1", "IDS", "Frag")


def scores(sequences: Mapping[str, Detected], ids: Mapping[str, Sequence[np.ndarray]]) -> MotsScores:
    """Scores over all sequences.

    sequences  name -> detections
    ids        name -> per frame (N,) track ids of the frame's detections; 0: not part of the result
    """
    return evaluate_frames(
        {
            name: {class_name: named(frames, ids[name]) for class_name, frames in entry.overlaps.items()}
            for name, entry in sequences.items()
        }
    )


def named(frames: ClassFrames, ids: Sequence[np.ndarray]) -> ClassFrames:
    """`frames` with track ids instead of detection rows, without the detections that have none."""
    predicted, overlaps = [], []
    for rows, ious, of_frame in zip(frames.predicted_ids, frames.ious, ids, strict=True):
        track_ids = np.asarray(of_frame, np.int64)[rows - 1]
        predicted.append(track_ids[track_ids > 0])
        overlaps.append(ious[:, track_ids > 0])
    return ClassFrames(frames.frames, frames.truth_ids, predicted, overlaps, frames.ignored_ids)
