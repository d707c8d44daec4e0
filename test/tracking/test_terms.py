"""The terms of the similarity, by hand."""

import numpy as np
import pytest

from wsperception.geometry import box_iou
from wsperception.tracking import terms
from wsperception.tracking.motion import Motion, centred, started

A = np.array([[0, 0, 20, 10]], np.float32)


def test_widened_iou_by_hand():
    # [0, 20) and [25, 45) do not touch. Widened sideways by a quarter: [-5, 25) and [20, 50): 5 of 55; height 10.
    b = A + np.array([25, 0, 25, 0], np.float32)
    assert terms.widened_iou(A, b, np.array([[0.0, 0.0]]))[0, 0] == 0.0
    assert terms.widened_iou(A, b, np.array([[0.25, 0.0]]))[0, 0] == pytest.approx(5 / 55)
    # 4 px lower as well, widened downward by a tenth: [-1, 11) and [3, 15): 8 common; 30 x 12 each.
    lower = b + np.array([0, 4, 0, 4], np.float32)
    assert terms.widened_iou(A, lower, np.array([[0.25, 0.1]]))[0, 0] == pytest.approx(40 / (2 * 360 - 40))


def test_widened_iou_without_a_margin_is_the_iou():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (2, 9, 2)).astype(np.float32)
    one, other = np.concatenate([corners, corners + rng.uniform(1, 40, (2, 9, 2)).astype(np.float32)], axis=2)
    assert terms.widened_iou(one, other, np.zeros((9, 2))) == pytest.approx(box_iou(one, other), abs=1e-6)


def test_margins_by_hand():
    # Standard deviation 3 of width 20 and of height 10: 0.15 and 0.3 sides, twice that with two deviations; 1 at most.
    motion = Motion(centred(A), np.zeros((1, 4)), np.full((3, 1, 4), 9.0))
    assert terms.margins(motion, 2.0) == pytest.approx(np.array([[0.3, 0.6]]))
    assert terms.margins(motion, 5.0) == pytest.approx(np.array([[0.75, 1.0]]))
    assert terms.margins(motion, 0.0).tolist() == [[0.0, 0.0]]


def test_sureness_by_hand():
    # Standard deviation 3 of width 20 and of height 10: 0.15 and 0.3 sides, and the greater counts.
    motion = Motion(centred(A), np.zeros((1, 4)), np.full((3, 1, 4), 9.0))
    assert terms.sureness(motion, 0.3) == pytest.approx(np.array([np.exp(-1.0)]))
    assert terms.sureness(motion, 1e3) == pytest.approx(np.array([1.0]), abs=1e-3)


def test_mask_overlap_by_hand():
    # Boxes 16 x 16. The track fills the left half of its box, 128 pixels. Detection 1 fills the left quarter there,
    # 64 pixels of its own box, all of them common: 64 / 128. Detection 2 fills the rest: common 64, own 192: 64 / 256.
    ids = np.zeros((40, 60), np.uint16)
    ids[10:26, 20:24], ids[10:26, 24:36] = 1, 2
    boxes = np.array([[20, 10, 36, 26]] * 2, np.float32)
    found = terms.silhouettes(ids, boxes)
    assert found.sum(axis=(1, 2)).tolist() == [16, 48]
    shape = np.zeros((1, terms.CELLS, terms.CELLS), bool)
    shape[:, :, :4] = True
    overlap = terms.mask_overlap(shape, boxes[:1], ids, found, boxes)
    assert overlap == pytest.approx(np.array([[64 / 128, 64 / 256]]))


def test_silhouettes_outside_of_the_image_are_empty():
    ids = np.ones((10, 10), np.uint16)
    shapes = terms.silhouettes(ids, np.array([[-8, 0, 8, 8]], np.float32))
    assert shapes[0].sum(axis=0).tolist() == [0, 0, 0, 0, 8, 8, 8, 8]
    assert terms.silhouettes(ids, np.zeros((0, 4), np.float32)).shape == (0, terms.CELLS, terms.CELLS)


def test_likeness_takes_the_best_of_the_gallery():
    gallery = np.array([[[1, 0], [0, 1], [0, 0]], [[-1, 0], [0, 0], [0, 0]]], np.float32)
    found = np.array([[0.6, 0.8], [1, 0]], np.float32)
    pairs = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])
    # The second track has only the opposite direction: -1 and -0.6 count as 0.
    assert terms.likeness(gallery, found, *pairs) == pytest.approx(np.array([0.8, 0.0, 1.0, 0.0]))


def test_likeness_of_many_pairs_goes_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    gallery, found = rng.normal(size=(5, 3, 4)).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)
    tracks, detections = rng.integers(0, 5, 11), rng.integers(0, 7, 11)
    whole = terms.likeness(gallery, found, tracks, detections)
    monkeypatch.setattr(terms, "BLOCK", 4)
    assert terms.likeness(gallery, found, tracks, detections) == pytest.approx(whole)


def test_same_size_by_hand():
    b = np.array([[0, 0, 40, 10], [0, 0, 10, 10], [0, 0, 41, 10]], np.float32)  # twice, half and 2.05 times the area
    assert terms.same_size(A, b, 2.0).tolist() == [[True, True, False]]


def test_combined_is_a_weighted_mean():
    one, half = np.ones(2, np.float32), np.full(2, 0.5, np.float32)
    # (3 + 0.5) / 4; where the second weighs as much as the first, (3 + 1.5) / 6
    weights = np.array([1.0, 3.0], np.float32)
    assert terms.combined([(3.0, one), (weights, half), (0.0, half * 0)]) == pytest.approx(np.array([0.875, 0.75]))


def test_no_track_or_no_detection():
    nobody = np.zeros((0, 4), np.float32)
    motion = started(centred(nobody), np.zeros(4), 0.1, 1.0)
    assert terms.widened_iou(nobody, A, terms.margins(motion, 1.0)).shape == (0, 1)
    assert terms.widened_iou(A, nobody, np.zeros((1, 2))).shape == (1, 0)
    assert terms.likeness(np.zeros((0, 3, 2), np.float32), nobody[:, :2], *np.zeros((2, 0), int)).shape == (0,)
    assert terms.same_size(nobody, A, 2.0).shape == (0, 1)
