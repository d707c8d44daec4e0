"""Panoptic quality: PQ, SQ and RQ of things, stuff and all, from label maps.

Kirillov et al., "Panoptic Segmentation", CVPR 2019; equation 5 of Li, Arnab, Torr, "Weakly- and Semi-Supervised
Panoptic Segmentation", ECCV 2018 (RQ is their detection quality DQ). Two images become one table of common pixels by
one count; all else happens on that table.
"""

from dataclasses import dataclass

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.types import LabelSpace

MATCHED = 0.5
"""IoU above which a pair matches: segments are disjoint, so a match is unique."""


@dataclass(frozen=True, eq=False)
class SegmentMatches:
    """Who was found by whom in one image; rows of the tables of truth and prediction.

    truth_rows, predicted_rows  (M,) int64    the pairs
    ious                        (M,) float64  > 0.5
    missed                      (K,) int64    segments of the truth that nobody found; crowds and empty rows are none
    false                       (L,) int64    predictions that found nothing and do not lie on void or a crowd
    """

    truth_rows: np.ndarray
    predicted_rows: np.ndarray
    ious: np.ndarray
    missed: np.ndarray
    false: np.ndarray

    @property
    def quality(self) -> float:
        """Panoptic quality of this image, all segments taken as one class; NaN where there is none."""
        return _ratio(self.ious.sum(), len(self.ious) + (len(self.missed) + len(self.false)) / 2)


@dataclass(frozen=True, eq=False)
class PanopticCounts:
    """Sums per class over any number of images; they add up.

    iou                                          (C,) float64  sum of the IoU of the matches
    true_positives false_positives false_negatives  (C,) int64
    """

    iou: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray

    def __add__(self, other: "PanopticCounts") -> "PanopticCounts":
        return PanopticCounts(
            self.iou + other.iou,
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @staticmethod
    def zero(classes: int) -> "PanopticCounts":
        """No image yet."""
        return PanopticCounts(np.zeros(classes), *(np.zeros(classes, np.int64) for _ in range(3)))


@dataclass(frozen=True)
class Quality:
    """PQ = SQ * RQ for one class; for several, the unweighted means over the `classes` that occur. Fractions.

    NaN: PQ and RQ where no class occurs in truth or prediction, SQ there and of a class without a match.
    As published, a mean takes a class without a match with SQ 0.
    """

    PQ: float
    SQ: float
    RQ: float
    classes: int


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality over a set of images: all classes, those of things, those of stuff, and each by its name."""

    all: Quality
    things: Quality
    stuff: Quality
    by_class: dict[str, Quality]


def overlap_areas(truth: PanopticLabels, prediction: PanopticLabels) -> np.ndarray:
    """(R, S) int64 common pixels of every row of the truth and every row of the prediction, void included.

    InputError where the images differ in size.
    """
    if truth.ids.shape != prediction.ids.shape:
        sizes = " x ".join(map(str, truth.ids.shape)), " x ".join(map(str, prediction.ids.shape))
        raise InputError(f"{truth.name}: expected a prediction of {sizes[0]} (height x width), got {sizes[1]}")
    rows, columns = len(truth.class_ids), len(prediction.class_ids)
    pairs = truth.ids.astype(np.intp)
    pairs *= columns
    pairs += prediction.ids
    areas: np.ndarray = np.bincount(pairs.ravel(), minlength=rows * columns).reshape(rows, columns)
    return areas


def match_segments(
    truth: PanopticLabels, prediction: PanopticLabels, areas: np.ndarray, void_in_union: bool = False
) -> SegmentMatches:
    """Pairs of equal class with IoU > 0.5, and what is left over.

    areas          (R, S) what `overlap_areas` gives
    void_in_union  True: predicted pixels on void stay in the union, as in BDD100K's own evaluation

    By the published definition predicted pixels on void are left out of the union. A prediction without a pair of which
    more than half lies on void and crowds of its class is no mistake; a crowd is never missed. The published code knows
    one crowd per class and image, the format's own limit; here all of a class add up. The crowd flag of a prediction
    has no meaning.
    """
    truth_areas, predicted_areas = areas.sum(axis=1), areas.sum(axis=0)
    same = truth.class_ids[:, None] == prediction.class_ids[None]  # (R, S)
    same[0] = same[:, 0] = False
    on_void = 0 if void_in_union else areas[0]
    union = truth_areas[:, None] + (predicted_areas - on_void)[None] - areas
    ious = np.divide(areas, union, out=np.zeros(areas.shape), where=same & (union > 0))
    ious[truth.is_crowd] = 0.0
    truth_rows, predicted_rows = np.nonzero(ious > MATCHED)
    excused = areas[0] + (areas * (same & truth.is_crowd[:, None])).sum(axis=0)  # (S,) pixels
    missed = (truth_areas > 0) & ~truth.is_crowd
    false = (predicted_areas > 0) & (excused <= MATCHED * predicted_areas)
    missed[truth_rows], false[predicted_rows] = False, False
    missed[0] = false[0] = False
    found = ious[truth_rows, predicted_rows]
    return SegmentMatches(truth_rows, predicted_rows, found, np.flatnonzero(missed), np.flatnonzero(false))


def count_matches(
    matches: SegmentMatches, truth: PanopticLabels, prediction: PanopticLabels, classes: int
) -> PanopticCounts:
    """The sums of one image; `classes` is C."""
    found = truth.class_ids[matches.truth_rows]
    return PanopticCounts(
        np.bincount(found, matches.ious, classes),
        np.bincount(found, minlength=classes),
        np.bincount(prediction.class_ids[matches.false], minlength=classes),
        np.bincount(truth.class_ids[matches.missed], minlength=classes),
    )


def panoptic_counts(truth: PanopticLabels, prediction: PanopticLabels, classes: int) -> PanopticCounts:
    """The sums of one image, from its label maps; `classes` is C. InputError where they differ in size."""
    matches = match_segments(truth, prediction, overlap_areas(truth, prediction))
    return count_matches(matches, truth, prediction, classes)


def panoptic_quality(counts: PanopticCounts, labels: LabelSpace) -> PanopticScores:
    """Ratios of the sums, and their means over the classes that occur (TP + FP + FN > 0)."""
    weights = counts.true_positives + (counts.false_positives + counts.false_negatives) / 2
    by_class = {
        name: Quality(
            _ratio(counts.iou[row], weights[row]),
            _ratio(counts.iou[row], counts.true_positives[row]),
            _ratio(counts.true_positives[row], weights[row]),
            int(weights[row] > 0),
        )
        for row, name in enumerate(labels.names)
    }
    things = [by_class[name] for name, thing in zip(labels.names, labels.is_thing, strict=True) if thing]
    stuff = [by_class[name] for name, thing in zip(labels.names, labels.is_thing, strict=True) if not thing]
    return PanopticScores(_mean([*things, *stuff]), _mean(things), _mean(stuff), by_class)


def _mean(entries: list[Quality]) -> Quality:
    counted = [entry for entry in entries if entry.classes]
    if not counted:
        return Quality(np.nan, np.nan, np.nan, 0)
    quality, segmentation, recognition = np.nan_to_num([[entry.PQ, entry.SQ, entry.RQ] for entry in counted]).mean(
        axis=0
    )
    return Quality(float(quality), float(segmentation), float(recognition), len(counted))


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else float("nan")
