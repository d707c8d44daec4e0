"""AP^r of panoptic segments, and AP^r_vol, its mean over thresholds, in both conventions.

Li, Arnab, Torr, "Weakly- and Semi-Supervised Panoptic Segmentation", ECCV 2018, section 4.1 ("Evaluation Metrics"):
0.1, 0.2, ..., 0.9 on VOC; 0.5, 0.55, ..., 0.95 on Cityscapes. Stuff counts as one instance per class and image, as in
their table 5. The average precision is VOC's, of `average_precision`.
"""

from collections.abc import Sequence

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.evaluation.average_precision import ScoredOverlaps, average_precision
from wsperception.evaluation.instance import InstanceScores

SINGLE = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds of the columns of their table 2."""
VOC_VOLUME = tuple(step / 10 for step in range(1, 10))
CITYSCAPES_VOLUME = tuple(step / 20 for step in range(10, 20))
THRESHOLDS = tuple(sorted({*VOC_VOLUME, *CITYSCAPES_VOLUME}))


def ranked_overlaps(truth: PanopticLabels, prediction: PanopticLabels, areas: np.ndarray) -> ScoredOverlaps:
    """What average precision needs of one image: rows that have pixels, without void; crowds are ignored objects.

    areas  (R, S) int64 common pixels, what `panoptic.overlap_areas` gives

    The IoU here is the plain one: VOC's average precision knows no void.
    """
    truth_areas, predicted_areas = areas.sum(axis=1), areas.sum(axis=0)
    true_rows = np.flatnonzero(truth_areas[1:]) + 1
    rows = np.flatnonzero(predicted_areas[1:]) + 1
    common = areas[np.ix_(true_rows, rows)].T  # (P, G)
    overlaps = common / (predicted_areas[rows][:, None] + truth_areas[true_rows][None] - common)
    return ScoredOverlaps(
        overlaps,
        prediction.scores[rows],
        prediction.class_ids[rows],
        truth.class_ids[true_rows],
        truth.is_crowd[true_rows],
    )


def ranked_scores(images: Sequence[ScoredOverlaps], classes: int) -> InstanceScores:
    """AP^r of every class at every one of THRESHOLDS; NaN for a class without objects."""
    by_class = np.full((len(THRESHOLDS), classes), np.nan)
    for class_id in range(classes):
        shown = [image for image in images if class_id in image.true_classes or class_id in image.class_ids]
        for row, threshold in enumerate(THRESHOLDS):
            by_class[row, class_id] = average_precision(shown, class_id, threshold) if shown else np.nan
    return InstanceScores("VOC", np.array(THRESHOLDS), by_class)


def class_precisions(scores: InstanceScores, threshold: float) -> np.ndarray:
    """(C,) float64 AP^r of each class at one of THRESHOLDS."""
    return np.asarray(scores.by_class[THRESHOLDS.index(threshold)])


def class_volumes(scores: InstanceScores, thresholds: Sequence[float]) -> np.ndarray:
    """(C,) float64 AP^r_vol of each class: the mean of its AP^r over `thresholds`, some of THRESHOLDS."""
    return np.asarray(np.mean([class_precisions(scores, threshold) for threshold in thresholds], axis=0))
