"""Mean IoU of semantic maps, from one confusion matrix over all images."""

import numpy as np

from wsperception.data.panoptic_labels import UNLABELLED
from wsperception.errors import InputError
from wsperception.types import VOID


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """(C, C + 1) int64 pixels of each true class (row) by predicted class; the last column: no class predicted.

    truth, prediction  (H, W) uint8 below C, or UNLABELLED
    classes            C

    Pixels without a true class are left out. Matrices of several images add up. InputError where the maps differ in
    size, or a value is neither a class nor UNLABELLED.
    """
    if truth.shape != prediction.shape:
        raise InputError(f"semantic maps: expected one size, got {truth.shape} and {prediction.shape}")
    for name, values in (("truth", truth), ("prediction", prediction)):
        wrong = (values >= classes) & (values != UNLABELLED)
        if wrong.any():
            raise InputError(f"{name}: expected classes 0 to {classes - 1} or {UNLABELLED}, got {values[wrong].max()}")
    known = truth != UNLABELLED
    columns = np.minimum(prediction[known], classes).astype(np.intp)
    pairs = truth[known].astype(np.intp) * (classes + 1) + columns
    counts: np.ndarray = np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
    return counts


def confusion_of_segments(
    areas: np.ndarray, truth_classes: np.ndarray, predicted_classes: np.ndarray, classes: int
) -> np.ndarray:
    """The same matrix (C, C + 1) from the common pixels of segments, without another pass over the image.

    areas              (R, S) int64 common pixels, void included
    truth_classes      (R,) int32, predicted_classes (S,) int32: class of each row, or VOID
    """
    rows = np.where(truth_classes == VOID, classes, truth_classes)
    columns = np.where(predicted_classes == VOID, classes, predicted_classes)
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(counts, (rows[:, None], columns[None]), areas)
    return counts[:classes]


def class_ious(confusion: np.ndarray) -> np.ndarray:
    """(C,) float64 TP / (TP + FP + FN) of each class; NaN for a class that neither truth nor prediction shows.

    confusion  (C, C + 1) what `confusion_matrix` gives
    """
    classes = len(confusion)
    hits = np.diagonal(confusion)
    union = confusion.sum(axis=1) + confusion[:, :classes].sum(axis=0) - hits
    ious: np.ndarray = np.divide(hits, union, out=np.full(classes, np.nan), where=union > 0)
    return ious


def mean_iou(ious: np.ndarray) -> float:
    """The mean over the classes that have an IoU; NaN where none has."""
    known = ious[~np.isnan(ious)]
    return float(known.mean()) if len(known) else float("nan")
