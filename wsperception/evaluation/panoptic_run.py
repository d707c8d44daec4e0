"""Panoptic scores of a set of images: one pass, in which every image is read once and dropped."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.errors import InputError
from wsperception.evaluation.average_precision import ScoredOverlaps
from wsperception.evaluation.instance import InstanceScores
from wsperception.evaluation.panoptic import (
    PanopticCounts,
    PanopticScores,
    SegmentMatches,
    count_matches,
    match_segments,
    overlap_areas,
    panoptic_quality,
)
from wsperception.evaluation.ranked_segments import ranked_overlaps, ranked_scores
from wsperception.evaluation.semantic import class_ious, confusion_of_segments
from wsperception.types import VOID, LabelSpace

WORST = 6
"""Images that a report shows."""

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class ImageErrors:
    """How one image went: its name, the panoptic quality over all its segments, and how many of them were what."""

    name: str
    quality: float
    found: int
    missed: int
    false: int


@dataclass(frozen=True, eq=False)
class PanopticResult:
    """Scores of a set of images, as fractions.

    ious        (C,) float64            IoU of each class as a semantic class; NaN where it does not occur
    precisions  InstanceScores or None  AP^r of each class; None where the predictions carry no scores
    worst       the images with the lowest quality, the lowest first, without those that are perfect
    """

    labels: LabelSpace
    images: int
    quality: PanopticScores
    counts: PanopticCounts
    ious: np.ndarray
    precisions: InstanceScores | None
    worst: tuple[ImageErrors, ...]


def evaluate_sets(
    truth: PanopticSet, prediction: PanopticSet, missing_as_empty: bool = False, progress: Progress | None = None
) -> PanopticResult:
    """Scores of the images of `truth`.

    missing_as_empty  an image without a prediction counts as one in which nothing was found

    Memory holds one image, sums per class and, where predictions have scores, the overlaps of segments.
    Raises InputError for other classes in the two sets, for a missing prediction, and for faults of the files.
    """
    if prediction.labels != truth.labels:
        raise InputError(
            f"{prediction.source}: expected the classes of {truth.source}: {', '.join(truth.labels.names)}"
        )
    classes = len(truth.labels)
    counts, confusion = PanopticCounts.zero(classes), np.zeros((classes, classes + 1), np.int64)
    ranked: list[ScoredOverlaps] = []
    worst: list[tuple[float, int, ImageErrors]] = []
    for done, (true, predicted) in enumerate(_pairs(truth, prediction, missing_as_empty), start=1):
        areas = overlap_areas(true, predicted)
        matches = match_segments(true, predicted, areas)
        counts += count_matches(matches, true, predicted, classes)
        confusion += confusion_of_segments(areas, true.class_ids, predicted.class_ids, classes)
        if prediction.scored:
            ranked.append(ranked_overlaps(true, predicted, areas))
        if matches.quality < 1:
            _keep_worst(worst, _errors(true.name, matches), done)
        if progress is not None:
            progress(done, len(truth))
    return PanopticResult(
        truth.labels,
        len(truth),
        panoptic_quality(counts, truth.labels),
        counts,
        class_ious(confusion),
        ranked_scores(ranked, classes) if prediction.scored else None,
        tuple(entry for *_, entry in sorted(worst, reverse=True)),
    )


def read_prediction(truth: PanopticLabels, prediction: PanopticSet) -> PanopticLabels:
    """What was predicted in an image; void where its set does not have it."""
    if truth.name in prediction.names:
        return prediction.read(truth.name)
    nothing = np.zeros(1, np.float32)
    return PanopticLabels(
        truth.name, np.zeros_like(truth.ids), np.array([VOID], np.int32), np.zeros(1, np.bool_), nothing
    )


def _pairs(
    truth: PanopticSet, prediction: PanopticSet, missing_as_empty: bool
) -> Iterator[tuple[PanopticLabels, PanopticLabels]]:
    predicted = set(prediction.names)
    missing = [name for name in truth.names if name not in predicted]
    if missing and not missing_as_empty:
        raise InputError(
            f"{prediction.source}: no prediction of {len(missing)} of {len(truth)} images, as of {missing[0]}"
        )
    for labels in truth:
        yield labels, read_prediction(labels, prediction)


def _errors(name: str, matches: SegmentMatches) -> ImageErrors:
    return ImageErrors(name, matches.quality, len(matches.ious), len(matches.missed), len(matches.false))


def _keep_worst(worst: list[tuple[float, int, ImageErrors]], entry: ImageErrors, number: int) -> None:
    """Keeps the WORST entries with the lowest quality; of equals, the first."""
    item = (-entry.quality, -number, entry)
    (heapq.heappush if len(worst) < WORST else heapq.heappushpop)(worst, item)
