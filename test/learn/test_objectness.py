import numpy as np
import pytest

from wsperception.data.segments import OUTSIDE, Segments
from wsperception.learn.objectness import outlined

SHARP = 0.1
"""A contrast at which every edge of the picture has strength 1."""


def picture() -> tuple[np.ndarray, np.ndarray]:
    """20 x 20: a red square of 6 x 6 (superpixel 1) on grey, of which the last 6 columns are superpixel 2."""
    image = np.full((20, 20, 3), 120, np.uint8)
    image[6:12, 2:8] = (230, 20, 20)
    superpixels = np.zeros((20, 20), np.uint16)
    superpixels[:, 14:] = 2
    superpixels[6:12, 2:8] = 1
    return image, superpixels


def membership(*segments: tuple[int, ...]) -> np.ndarray:
    return np.array([[part in segment for segment in segments] for part in range(3)])


def test_outlines_by_hand() -> None:
    image, superpixels = picture()
    found = outlined(image, Segments(superpixels, membership((1,), (1, 2), (2,)), np.ones(3, np.float32)), SHARP)
    # {1}: 24 strong edges of 24, 36 of 400 pixels: 1 * .3. {1, 2}: also 20 edges without contrast, and the image's
    # border along 6 + 20 + 6 pixels: (24 / 76)^2 * sqrt(156 / 400). {2} has no strong edge.
    expected = [0.3, (24 / 76) ** 2 * (156 / 400) ** 0.5, 0.0]
    assert found.objectness.tolist() == pytest.approx(expected, abs=1e-5)
    assert found.objectness.dtype == np.float32
    assert (found.superpixels == superpixels).all()


def test_where_no_image_is_there_is_no_contrast() -> None:
    image, superpixels = picture()
    image[:, 14:] = 0  # a strong edge, but to padding
    superpixels[:, 14:] = OUTSIDE
    found = outlined(image, Segments(superpixels, membership((0,), (2,)), np.ones(2, np.float32)), SHARP)
    # {0}: 24 strong edges around the square, 20 to the padding, 20 + 14 + 14 of the border; 244 of 280 pixels. No pixel
    # of superpixel 2 is left.
    assert found.objectness.tolist() == pytest.approx([(24 / 92) ** 2 * (244 / 280) ** 0.5, 0.0], abs=1e-5)


def test_no_segment() -> None:
    image, superpixels = picture()
    nothing = Segments(superpixels, np.zeros((3, 0), bool), np.zeros(0, np.float32))
    assert outlined(image, nothing, SHARP).objectness.shape == (0,)
