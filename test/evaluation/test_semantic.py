"""Confusion matrices and mean IoU by hand."""

import numpy as np
import pytest

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.evaluation.panoptic import overlap_areas
from wsperception.evaluation.semantic import class_ious, confusion_matrix, confusion_of_segments, mean_iou


def test_by_hand():
    # Class 0 has 4 pixels: 2 right, 1 taken for class 1, 1 left open. Class 1 has 2 pixels: 1 right, 1 taken for 0.
    # Two pixels have no true class. IoU 0: 2 / (4 + 3 - 2) = 2/5; IoU 1: 1 / (2 + 2 - 1) = 1/3; class 2 is nowhere.
    truth = np.array([[0, 0, 0, 0], [1, 1, 255, 255]], np.uint8)
    prediction = np.array([[0, 0, 1, 255], [1, 0, 2, 1]], np.uint8)
    confusion = confusion_matrix(truth, prediction, 3)
    assert confusion.tolist() == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    ious = class_ious(confusion)
    np.testing.assert_allclose(ious, [2 / 5, 1 / 3, np.nan])
    assert mean_iou(ious) == pytest.approx((2 / 5 + 1 / 3) / 2)


def test_a_class_that_is_only_predicted_has_iou_zero():
    ious = class_ious(confusion_matrix(np.zeros((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2))
    np.testing.assert_allclose(ious, [0.5, 0.0])


def test_nothing_is_known():
    ious = class_ious(confusion_matrix(np.full((1, 2), 255, np.uint8), np.zeros((1, 2), np.uint8), 2))
    assert np.isnan(ious).all()
    assert np.isnan(mean_iou(ious))


def test_segments_give_the_same_matrix():
    random = np.random.default_rng(3)
    labels = []
    for rows in (6, 9):
        classes = np.append(-1, random.integers(0, 4, rows - 1)).astype(np.int32)
        ids = random.integers(0, rows, (20, 30)).astype(np.uint16)
        labels.append(PanopticLabels("any", ids, classes, np.zeros(rows, bool), np.ones(rows, np.float32)))
    truth, prediction = labels
    by_segments = confusion_of_segments(overlap_areas(truth, prediction), truth.class_ids, prediction.class_ids, 4)
    assert (by_segments == confusion_matrix(truth.semantic(), prediction.semantic(), 4)).all()


def test_mistakes():
    with pytest.raises(InputError, match=r"semantic maps: expected one size, got \(1, 2\) and \(2, 1\)"):
        confusion_matrix(np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8), 2)
    with pytest.raises(InputError, match=r"prediction: expected classes 0 to 1 or 255, got 2"):
        confusion_matrix(np.zeros((1, 2), np.uint8), np.full((1, 2), 2, np.uint8), 2)
