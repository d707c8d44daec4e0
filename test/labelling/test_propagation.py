"""Boxes and points follow what they show."""

import cv2
import numpy as np
import pytest
from moving_square import SHIFT, SIZE, SQUARE, picture

from wsperception.data.kitti import read_tracking_labels
from wsperception.data.sources import read_image
from wsperception.geometry import box_iou
from wsperception.labelling.propagation import carry_boxes, carry_points
from wsperception.types import LabelSpace


def test_a_box_moves_with_its_object_and_the_ground_stays():
    boxes = np.array([SQUARE, (120, 60, 180, 110)], np.float32)
    moved, found = carry_boxes(picture(0), picture(1), boxes)
    assert found.tolist() == [True, True]
    assert moved[0] == pytest.approx(np.array(SQUARE) + [*SHIFT, *SHIFT], abs=0.3)
    assert moved[1] == pytest.approx(boxes[1], abs=0.3)
    assert moved.dtype == np.float32


def test_a_point_moves_with_what_is_around_it():
    moved, found = carry_points(picture(0), picture(1), np.array([[65, 50]], np.float32))
    assert found.tolist() == [True]
    assert moved[0] == pytest.approx([65 + SHIFT[0], 50 + SHIFT[1]], abs=0.3)


def test_an_object_that_comes_nearer_grows():
    before = picture(0)
    matrix = np.array([[1.1, 0, -6.5], [0, 1.1, -5]])  # 1.1 times as large; (65, 50), the centre of the square, stays
    after = cv2.warpAffine(before, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR)
    moved, found = carry_boxes(before, after, np.array([SQUARE], np.float32))
    assert found[0]
    assert moved[0] == pytest.approx([65 - 27.5, 50 - 22, 65 + 27.5, 50 + 22], abs=1.0)


def test_nothing_to_follow():
    grey = np.full((*SIZE, 3), 90, np.uint8)
    noise = np.random.default_rng(3).integers(0, 255, (*SIZE, 3), np.uint8)
    boxes = np.array([SQUARE], np.float32)
    moved, found = carry_boxes(picture(0), noise, boxes)
    assert not found[0] and moved.tolist() == boxes.tolist()
    moved, found = carry_boxes(grey, grey, boxes)
    assert moved.tolist() == boxes.tolist()


def test_a_box_at_the_border_and_no_box():
    border = np.array([[-20, -20, 10, 10]], np.float32)
    moved, _ = carry_boxes(picture(0), picture(0), border)
    assert moved[0] == pytest.approx(border[0], abs=0.5)
    moved, found = carry_boxes(picture(0), picture(1), np.zeros((0, 4), np.float32))
    assert moved.shape == (0, 4) and found.shape == (0,)
    points, found = carry_points(picture(0), picture(1), np.zeros((0, 2), np.float32))
    assert points.shape == (0, 2) and found.shape == (0,)


def test_on_kitti_it_is_better_than_staying(shared_data):
    labels = LabelSpace(("car", "pedestrian"), (True, True))
    folder = shared_data("kitti_mini") / "training" / "image_02" / "0001"
    truth = read_tracking_labels(next(shared_data("kitti_tracking_labels").rglob("0001.txt")), labels).frames
    ious, stays = [], []
    for first, second in ((10, 15), (15, 20)):
        before, after = (read_image(folder / f"{number:06d}.png") for number in (first, second))
        old, new = truth[first], truth[second]
        rows = {int(number): row for row, number in enumerate(new.track_ids)}
        pairs = [(row, rows[int(number)]) for row, number in enumerate(old.track_ids) if int(number) in rows]
        moved, _ = carry_boxes(before, after, old.boxes)
        for row, other in pairs:
            ious.append(float(box_iou(moved[[row]], new.boxes[[other]])[0, 0]))
            stays.append(float(box_iou(old.boxes[[row]], new.boxes[[other]])[0, 0]))
    assert len(ious) > 5
    assert np.mean(ious) > np.mean(stays)
