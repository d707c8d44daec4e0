"""Panoptic quality against torchmetrics on frames of a synthetic drive: equal numbers, and the ratio of the times.

    python benchmarks/evaluation/panoptic.py [--frames 6] [--rounds 3]

Ground truth: frames of 375 x 1242 pixels. Predictions: the same, shifted by a few pixels, with some segments of another
class. Both get class and instance number of every pixel in memory; ours is timed with and without the step from numbers
to a label map of rows, which readers do anyway. They take turns; a round is one pass over all frames.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wsperception.data.drive.panoptic import LABEL_SPACE, panoptic_of
from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.panoptic_labels import PanopticLabels, relabelled
from wsperception.evaluation.panoptic import PanopticCounts, PanopticScores, panoptic_counts, panoptic_quality

CLASSES = len(LABEL_SPACE)
SEED = 11
SPREAD = 100_000
"""class * SPREAD + row: one number per segment."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One frame: label maps, and the numbers (H, W) int64 of their segments."""

    truth: PanopticLabels
    prediction: PanopticLabels
    true_numbers: np.ndarray
    predicted_numbers: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        import torch
        from torchmetrics.detection import PanopticQuality
    except ModuleNotFoundError as error:
        sys.exit(f"needs the package {error.name}, the peer: pip install torchmetrics")
    torch.set_num_threads(1)
    pairs = make_pairs(arguments.frames)
    tensors = [[torch.from_numpy(pixels(labels))[None] for labels in (pair.prediction, pair.truth)] for pair in pairs]
    things = {class_id for class_id, thing in enumerate(LABEL_SPACE.is_thing) if thing}
    peer = PanopticQuality(things, set(range(CLASSES)) - things, return_sq_and_rq=True, return_per_class=True)

    def theirs() -> np.ndarray:
        peer.reset()
        for prediction, truth in tensors:
            peer.update(prediction, truth)
        return np.asarray(peer.compute().numpy()).reshape(CLASSES, 3)

    def ours_from_numbers() -> PanopticScores:
        return scores_of(
            [
                (rows_of(pair.truth, pair.true_numbers), rows_of(pair.prediction, pair.predicted_numbers))
                for pair in pairs
            ]
        )

    def ours() -> PanopticScores:
        return scores_of([(pair.truth, pair.prediction) for pair in pairs])

    times: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name, run in (("torchmetrics", theirs), ("ours, from numbers", ours_from_numbers), ("ours", ours)):
            times.setdefault(name, []).append(seconds(run) / len(pairs))
    difference = np.abs(theirs() - as_array(ours())).max()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(
        f"{len(pairs)} frames of {pairs[0].truth.ids.shape}, {sum(map(len, (pair.truth for pair in pairs)))} segments"
    )
    print(f"greatest difference of PQ, SQ, RQ over {CLASSES} classes: {difference:.1e}; PQ {100 * ours().all.PQ:.1f} %")
    base = statistics.median(times["torchmetrics"])
    for name, values in times.items():
        middle = statistics.median(values)
        spread = f"{1e3 * min(values):.1f} to {1e3 * max(values):.1f}"
        print(f"{name:<20}{1e3 * middle:8.1f} ms per frame ({spread}), {base / middle:6.1f} times as fast")


def make_pairs(frames: int) -> list[Pair]:
    """Frames of a crowded drive, without crowd regions and without void: torchmetrics knows no crowd."""
    random = np.random.default_rng(SEED)
    pairs = []
    for frame in Drive(DriveSettings(seed=SEED, frames=frames, scene="crowd")).frames():
        found = panoptic_of(frame, f"{frame.index}")
        ids = np.where(found.ids == 0, len(found.class_ids) - 1, found.ids).astype(np.uint16)
        plain = np.zeros(len(found.class_ids), bool)
        truth = PanopticLabels(found.name, ids, found.class_ids, plain, found.scores)
        class_ids = found.class_ids.copy()
        things = np.flatnonzero((class_ids == 0) | (class_ids == 1))
        changed = things[random.random(len(things)) < 0.15]
        class_ids[changed] = 1 - class_ids[changed]
        shifted = np.roll(ids, random.integers(-3, 4, 2), axis=(0, 1))
        prediction = PanopticLabels(found.name, shifted, class_ids, plain, found.scores)
        pairs.append(Pair(truth, prediction, numbers_of(truth), numbers_of(prediction)))
    return pairs


def numbers_of(labels: PanopticLabels) -> np.ndarray:
    """(H, W) int64 class * SPREAD + row."""
    return np.asarray((labels.class_ids.astype(np.int64) * SPREAD + np.arange(len(labels.class_ids)) + 1)[labels.ids])


def rows_of(labels: PanopticLabels, numbers: np.ndarray) -> PanopticLabels:
    """The same labels, their label map made anew from the numbers of their pixels."""
    ids, present = relabelled(numbers, labels.name)
    class_ids = np.append(-1, present[1:] // SPREAD).astype(np.int32)
    rows = len(class_ids)
    return PanopticLabels(labels.name, ids, class_ids, np.zeros(rows, bool), np.ones(rows, np.float32))


def pixels(labels: PanopticLabels) -> np.ndarray:
    """(H, W, 2) int64 class and instance; stuff has instance 0."""
    is_thing = np.append(LABEL_SPACE.is_thing, [False])[labels.class_ids]
    instance = np.where(is_thing, np.arange(len(labels.class_ids)), 0)
    return np.stack([labels.class_ids.astype(np.int64)[labels.ids], instance[labels.ids]], axis=-1)


def scores_of(pairs: Sequence[tuple[PanopticLabels, PanopticLabels]]) -> PanopticScores:
    counts = PanopticCounts.zero(CLASSES)
    for truth, prediction in pairs:
        counts += panoptic_counts(truth, prediction, CLASSES)
    return panoptic_quality(counts, LABEL_SPACE)


def as_array(scores: PanopticScores) -> np.ndarray:
    """(C, 3) PQ, SQ, RQ; 0 where torchmetrics has 0."""
    return np.nan_to_num([[entry.PQ, entry.SQ, entry.RQ] for entry in scores.by_class.values()])


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
