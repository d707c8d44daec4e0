import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsperception.learn.proposals.objectness import outline_objectness, segment_moments, segment_outlines
from wsperception.learn.proposals.region_graph import region_graph

SHARP = 0.1
"""A contrast at which every edge of the picture has strength 1."""


def picture() -> tuple[np.ndarray, np.ndarray]:
    """20 x 20: a red rectangle of 5 x 6 (superpixel 1) on grey, of which the last 6 columns are superpixel 2."""
    image = np.full((20, 20, 3), 120, np.uint8)
    image[6:11, 2:8] = (230, 20, 20)
    superpixels = np.zeros((20, 20), np.int32)
    superpixels[:, 14:] = 2
    superpixels[6:11, 2:8] = 1
    return image, superpixels


def membership(*segments: tuple[int, ...]) -> np.ndarray:
    return np.array([[part in segment for segment in segments] for part in range(3)])


def ellipse_shares(superpixels: np.ndarray, segments: np.ndarray) -> np.ndarray:
    return segment_moments(superpixels, segments).ellipse_shares


def test_objectness_by_hand() -> None:
    image, superpixels = picture()
    graph = region_graph(image, superpixels, 4, SHARP)
    found = outline_objectness(superpixels, membership((1,), (2,), (1, 2)), graph)
    # {1}: 22 strong edges of 22, none inside. A rectangle's variances are 5^2 / 12 and 6^2 / 12, so its share of the
    # ellipse is 30 / (4 pi 30 / 12) = 3 / pi. {2} has no strong edge.
    assert found[:2].tolist() == pytest.approx([(3 / np.pi) ** 12 * 0.05**1.5, 0.0], rel=1e-4)
    # {1, 2}: 22 strong edges of 42, and the image's border along 6 + 20 + 6 pixels.
    share = ellipse_shares(superpixels, membership((1, 2)))[0]
    assert found[2] == pytest.approx((22 / 74 * share**1.5) ** 8 * 0.05**1.5, rel=1e-4)


def test_outlines_by_hand() -> None:
    image, superpixels = picture()
    found = segment_outlines(superpixels, membership((0, 1), (1,)), region_graph(image, superpixels, 4, SHARP))
    # {0, 1}: 20 weak edges beside superpixel 2 and 14 + 20 + 14 of the image's border; the rectangle's 22 lie inside.
    assert found.lengths.tolist() == [68.0, 22.0]
    assert found.open.tolist() == pytest.approx([48 / 68, 0.0])
    assert found.closed.tolist() == pytest.approx([0.0, 1.0])
    assert found.strength.tolist() == pytest.approx([0.0, 1.0], abs=1e-4)
    assert found.inner.tolist() == pytest.approx([1.0, 0.0], abs=1e-4)


def test_a_weak_outline_does_not_close() -> None:
    image, superpixels = picture()
    weak = segment_outlines(superpixels, membership((1,)), region_graph(image, superpixels, 4, 1000.0))
    assert weak.closed.tolist() == [0.0]
    assert 0.0 < weak.strength[0] < 0.4


def test_moments_by_hand() -> None:
    _, superpixels = picture()
    found = segment_moments(superpixels, membership((1,), ()))
    # Rows 6 to 10 and columns 2 to 7.
    assert found.areas.tolist() == [30.0, 0.0]
    assert found.middles[:, 0].tolist() == pytest.approx([8.0, 4.5])
    assert found.spreads[:, 0].tolist() == pytest.approx([25 / 12, 36 / 12, 0.0])
    assert found.ellipse_shares[1] == 0.0


def test_shares_of_ellipses_by_hand() -> None:
    # Two squares of side 2 whose middles are 6 apart, and an L of three pixels.
    superpixels = np.zeros((4, 10), np.int32)
    superpixels[1:3, 1:3] = superpixels[1:3, 7:9] = 1
    superpixels[0, 4:6] = superpixels[1, 5] = 2
    # Squares: variances 4 / 12 down, 4 / 12 + 3^2 along; 8 pixels. L: columns 4, 5, 5 have the variance 2 / 9 + 1 / 12,
    # as have rows 0, 0, 1; their covariance is 2 / 3 * 1 / 3 - 1 / 9 = 1 / 9.
    variance = 2 / 9 + 1 / 12
    expected = [
        8 / (4 * np.pi * (1 / 3 * (9 + 1 / 3)) ** 0.5),
        3 / (4 * np.pi * (variance**2 - 1 / 81) ** 0.5),
    ]
    found = ellipse_shares(superpixels, membership((1,), (2,)))
    assert found.tolist() == pytest.approx(expected)


@given(st.floats(7.0, 14.0), st.floats(7.0, 14.0), st.floats(0.0, 3.0))
def test_an_ellipse_fills_itself_however_it_lies(long: float, short: float, angle: float) -> None:
    y, x = np.mgrid[:40, :40] - 19.5
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    ellipse = ((along / long) ** 2 + (across / short) ** 2 < 1).astype(np.int32)
    whole = ellipse_shares(ellipse, np.array([[False], [True]]))[0]
    assert 0.98 < whole <= 1.0
    with_hole = np.where((along / long) ** 2 + (across / short) ** 2 < 0.25, 0, ellipse)
    # A quarter of the area taken from the middle leaves variances of (1 - 1/16) / (3/4) = 1.25: 0.75 / 1.25 = 0.6.
    assert ellipse_shares(with_hole, np.array([[False], [True]]))[0] == pytest.approx(0.6, abs=0.06)


def test_no_segment() -> None:
    image, superpixels = picture()
    nothing = np.zeros((3, 0), bool)
    assert outline_objectness(superpixels, nothing, region_graph(image, superpixels, 4, SHARP)).shape == (0,)
