"""Detections of one sequence, ready for every tracker: noisy, fused once into disjoint segments, overlaps known.

All trackers see the same segments and only give them ids, so the mask IoU with the ground truth is computed once.
"""

import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tracking.noise import NoiseLevel, detections
from benchmarks.tracking.truth import Truth
from wsperception import rle
from wsperception.data.mots import CLASS_NUMBERS, MotsSequence, from_segment_maps
from wsperception.evaluation.mots_frames import ClassFrames, SequencePair, class_frames
from wsperception.fusion import FusionSettings, fuse
from wsperception.geometry import box_iou
from wsperception.types import Instances, LabelSpace

LABELS = LabelSpace(tuple(CLASS_NUMBERS), (True, True))


@dataclass(frozen=True, eq=False)
class Detected:
    """One sequence under one level of noise.

    name        sequence
    rate_hz     rate of the frames
    instances   per frame the N detections that kept pixels, by falling score; grids of masks are dropped
    runs        per frame N + 1 compressed run lengths, void first: the label map
    overlaps    class name -> what the scores need; predicted_ids are row + 1 of the frame's instances
    """

    name: str
    rate_hz: float
    instances: list[Instances]
    runs: list[list[bytes]]
    overlaps: dict[str, ClassFrames]

    def label_map(self, frame: int) -> np.ndarray:
        """(H, W) uint16: row + 1 of the frame's instances, 0 where there is none."""
        height, width = self.instances[frame].image_size
        bounds = [np.cumsum(rle.run_lengths(counts)) for counts in self.runs[frame][1:]]
        starts = np.concatenate([np.zeros(1, np.int64), *(entry[0::2][: len(entry) // 2] for entry in bounds)])
        ends = np.concatenate([np.zeros(1, np.int64), *(entry[1::2] for entry in bounds)])
        numbers = np.repeat(np.arange(len(bounds) + 1), [1, *(len(entry) // 2 for entry in bounds)])
        # Column by column: objects are disjoint, so one ends where the next may begin.
        order = np.lexsort((ends, starts))
        starts, ends, numbers = starts[order], ends[order], numbers[order]
        lengths = np.stack([ends - starts, np.append(starts[1:], height * width) - ends], axis=1)
        values = np.stack([numbers, np.zeros_like(numbers)], axis=1).astype(np.uint16)
        columns = np.repeat(values.ravel(), lengths.ravel()).reshape(width, height)
        return np.asarray(cv2.transpose(columns))  # row by row, as the pipeline gives it

    def every(self, frames: np.ndarray, rate_hz: float) -> "Detected":
        """Only the frames at these positions, as if the camera had given no others."""
        overlaps = {
            name: ClassFrames(
                range(len(frames)),
                [entry.truth_ids[f] for f in frames],
                [entry.predicted_ids[f] for f in frames],
                [entry.ious[f] for f in frames],
                [],
            )
            for name, entry in self.overlaps.items()
        }
        return Detected(
            self.name, rate_hz, [self.instances[f] for f in frames], [self.runs[f] for f in frames], overlaps
        )


def detected(read: Callable[[], Truth], name: str, level: NoiseLevel, seed: int, cache: Path) -> Detected:
    """The detections of the sequence `name`, from `cache` where they were made before; else `read` its ground truth."""
    path = cache / f"{name}-{level.name}-{seed}.pickle"
    if path.exists():
        made: Detected = pickle.loads(path.read_bytes())
        return made
    made = _detect(read(), level, seed)
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(made))
    part.replace(path)
    return made


def _detect(truth: Truth, level: NoiseLevel, seed: int) -> Detected:
    instances, runs, maps = [], [], []
    for found in detections(truth, level, seed):
        fused = fuse(found, FusionSettings())
        rows = found.select(fused.instance_rows)
        instances.append(dataclasses.replace(rows, masks=np.zeros((len(rows), 1, 1), np.float32)))
        runs.append(rle.encode_label_map(fused.segments.ids, len(rows) + 1))
        numbers = np.arange(len(rows) + 1, dtype=np.int32)
        maps.append(dataclasses.replace(fused.segments, track_ids=numbers))
    if truth.sequence is None:
        overlaps = {"pedestrian": _box_overlaps(truth, instances)}
    else:
        prediction: MotsSequence = from_segment_maps(truth.name, maps, LABELS)
        overlaps = class_frames(SequencePair(truth.name, truth.sequence, prediction, range(len(maps))))
    return Detected(truth.name, truth.rate_hz, instances, runs, overlaps)


def _box_overlaps(truth: Truth, instances: list[Instances]) -> ClassFrames:
    """Boxes against boxes, where the ground truth has no masks."""
    rows = [np.arange(1, len(found) + 1, dtype=np.int64) for found in instances]
    ious = [
        box_iou(frame.boxes, found.boxes).astype(np.float64)
        for frame, found in zip(truth.frames, instances, strict=True)
    ]
    truth_ids = [frame.track_ids for frame in truth.frames]
    return ClassFrames(range(len(rows)), truth_ids, rows, ious, [])
