"""Ground truth tracks as the benchmark uses them: per frame the visible masks on the grid of their boxes."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsperception.data.mots import CLASS_NUMBERS, MotsObject, MotsSequence, read_mots_text, read_seqmap
from wsperception.evaluation.mots_frames import mask_tools

GRID = 28
"""Cells along a side of a mask grid, as in the shipped networks."""
TUNING = ("0000", "0001", "0003", "0004", "0005", "0009")
REPORT = ("0011", "0012", "0015", "0017", "0019", "0020")
CLASS_IDS = {number: index for index, number in enumerate(CLASS_NUMBERS.values())}
"""MOTS class number -> class id of `Instances`."""


@dataclass(frozen=True, eq=False)
class TruthFrame:
    """The objects of one frame, G of them.

    track_ids  (G,) int64
    class_ids  (G,) int32            0 car, 1 pedestrian
    boxes      (G, 4) float32        tight around the visible pixels
    masks      (G, GRID, GRID) float32   share of visible pixels in each cell of the box
    hidden     (G,) float32          share of the box that masks of other objects cover
    """

    track_ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True, eq=False)
class Truth:
    """One sequence: all its frames, their rate, and the source for the scores (None: boxes only)."""

    name: str
    frames: list[TruthFrame]
    image_size: tuple[int, int]
    rate_hz: float
    sequence: MotsSequence | None


def kitti_mots(data: Path, name: str) -> Truth:
    """A training sequence of KITTI MOTS, 10 Hz."""
    folder = data / "kitti_mots_gt"
    sequence = read_mots_text(folder / "instances_txt" / f"{name}.txt")
    numbers = read_seqmap(folder / "fulltrain.seqmap")[name]
    by_frame = sequence.by_frame()
    size = sequence.objects[0].size
    frames = [truth_frame([entry for entry in by_frame.get(n, []) if entry.class_id in CLASS_IDS]) for n in numbers]
    return Truth(name, frames, size, 10.0, sequence)


def mot15(data: Path, name: str) -> Truth:
    """TUD-Campus or TUD-Stadtmitte: pedestrians, boxes only, 25 Hz. An object's mask is its whole box."""
    lines = np.loadtxt(data / "mot15_tud" / "train" / name / "gt" / "gt.txt", delimiter=",", usecols=range(7))
    frames = []
    for number in range(1, int(lines[:, 0].max()) + 1):
        rows = lines[(lines[:, 0] == number) & (lines[:, 6] > 0)]
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
        count = len(rows)
        frames.append(
            TruthFrame(
                rows[:, 1].astype(np.int64),
                np.ones(count, np.int32),
                boxes,
                np.ones((count, GRID, GRID), np.float32),
                _covered(boxes),
            )
        )
    return Truth(name, frames, (480, 640), 25.0, None)


def truth_frame(objects: list[MotsObject]) -> TruthFrame:
    """The objects of one frame: cars and pedestrians."""
    count = len(objects)
    boxes = np.zeros((count, 4), np.float32)
    masks = np.zeros((count, GRID, GRID), np.float32)
    hidden = np.zeros(count, np.float32)
    if count:
        tools = mask_tools()
        encoded = [{"size": list(entry.size), "counts": entry.counts} for entry in objects]
        boxes[:] = tools.toBbox(encoded)
        boxes[:, 2:] += boxes[:, :2]
        any_mask = tools.decode(tools.merge(encoded, intersect=False))
        for row, entry in enumerate(encoded):
            x0, y0, x1, y1 = boxes[row].astype(int)
            crop = tools.decode(entry)[y0:y1, x0:x1]
            masks[row] = cv2.resize(crop.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
            hidden[row] = (any_mask[y0:y1, x0:x1].astype(bool) & ~crop.astype(bool)).mean()
    track_ids = np.array([entry.track_id for entry in objects], np.int64)
    class_ids = np.array([CLASS_IDS[entry.class_id] for entry in objects], np.int32)
    return TruthFrame(track_ids, class_ids, boxes, masks, hidden)


def _covered(boxes: np.ndarray) -> np.ndarray:
    """(G,) share of each box that boxes reaching further down (nearer objects) cover, their overlaps counted twice."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0.0), axis=2)  # (G, G)
    nearer = boxes[None, :, 3] > boxes[:, None, 3]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    covered: np.ndarray = np.minimum((overlap * nearer).sum(axis=1) / np.maximum(area, 1.0), 1.0).astype(np.float32)
    return covered
