"""Letterbox: hand-worked sizes, and a way back that is exact."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from wsperception.preprocess import PADDING, fit, letterbox

SIZES = st.tuples(st.integers(1, 900), st.integers(1, 1600))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_sizes_by_hand():
    # 375x1242 into 192x640: min(192/375 = 0.512, 640/1242 = 0.5153) = 0.512, content 192 x round(635.9) = 636.
    kitti = fit((375, 1242), (192, 640))
    assert kitti.content_size == (192, 636)
    assert (kitti.scale_x, kitti.scale_y) == (636 / 1242, 192 / 375)
    # A portrait into a landscape: 0.3, content 300 x 60.
    assert fit((1000, 200), (300, 400)).content_size == (300, 60)
    # At least one pixel, however thin.
    assert fit((1, 5000), (32, 64)).content_size == (1, 64)


def test_content_top_left_padding_right_and_below():
    buffer, placing = letterbox(picture(20, 30), (50, 60))  # 2: content 40 x 60
    assert buffer.shape == (50, 60, 3)
    assert placing.content_size == (40, 60)
    assert (buffer[40:] == PADDING).all()
    assert not (buffer[:40] == PADDING).all(axis=(1, 2)).any()
    buffer, placing = letterbox(picture(20, 30), (20, 60))
    assert placing.content_size == (20, 30)
    assert (buffer[:, 30:] == PADDING).all()
    assert (buffer[:, :30] == picture(20, 30)).all()  # scale 1 copies


@pytest.mark.parametrize(("size", "method"), [((24, 36), cv2.INTER_LINEAR), ((9, 13), cv2.INTER_AREA)])
def test_content_is_opencvs_resize(size, method):
    image = picture(30, 44)
    buffer, placing = letterbox(image, size)
    height, width = placing.content_size
    assert (buffer[:height, :width] == cv2.resize(image, (width, height), interpolation=method)).all()


def test_buffer_is_used_again_and_leaves_no_trace():
    buffer = np.full((40, 60, 3), 7, np.uint8)
    first, _ = letterbox(picture(20, 30), (40, 60), buffer)
    assert first is buffer
    letterbox(picture(40, 10, seed=1), (40, 60), buffer)
    assert (buffer == letterbox(picture(40, 10, seed=1), (40, 60))[0]).all()


def test_views_with_any_strides():
    image = picture(31, 44)
    for view in (image[..., ::-1], image[::-1], image[:, ::2], image.transpose(1, 0, 2), image[3:20, 5:40]):
        expected = letterbox(np.ascontiguousarray(view), (24, 32))[0]
        assert (letterbox(view, (24, 32))[0] == expected).all()


def test_resizing_keeps_places():
    # A white square at [20, 40) x [10, 30) of a black image has its centre at (30, 20). The pixel rule says that the
    # centre lands at (30 * scale_x, 20 * scale_y) of the input; a shift by half a pixel would show.
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:30, 20:40] = 255
    for size in ((90, 120), (45, 60), (20, 33), (177, 240)):
        buffer, placing = letterbox(image, size)
        height, width = placing.content_size
        weights = buffer[:height, :width, 0].astype(float)
        centre_x = (weights.sum(axis=0) @ (np.arange(width) + 0.5)) / weights.sum()
        centre_y = (weights.sum(axis=1) @ (np.arange(height) + 0.5)) / weights.sum()
        assert centre_x == pytest.approx(30 * placing.scale_x, abs=0.05)
        assert centre_y == pytest.approx(20 * placing.scale_y, abs=0.05)


@run_settings(derandomize=True, deadline=None, database=None)
@given(SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_boxes_return_to_where_they_were(image_size, input_size, seed):
    placing = fit(image_size, input_size)
    height, width = placing.content_size
    assert 1 <= height <= input_size[0]
    assert 1 <= width <= input_size[1]
    assert height == input_size[0] or width == input_size[1]
    # The corners of the image are the corners of the content.
    whole = np.array([[0, 0, image_size[1], image_size[0]]], np.float32)
    assert placing.to_input(whole) == pytest.approx(np.array([[0, 0, width, height]]), rel=1e-6)
    boxes = np.random.default_rng(seed).uniform(-50, 2000, (4, 4)).astype(np.float32)
    assert placing.to_image(placing.to_input(boxes)) == pytest.approx(boxes, rel=3e-7)
    assert placing.to_input(placing.to_image(boxes)) == pytest.approx(boxes, rel=3e-7)
