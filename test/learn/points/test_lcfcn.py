"""The four terms of LC-FCN on maps that can be worked out by hand, and their gradients."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from wsperception.learn.points.lcfcn import (  # noqa: E402
    Blobs,
    boundaries,
    false_positive_weights,
    find_blobs,
    find_peaks,
    image_term,
    location_terms,
    point_pixels,
    point_term,
    split_weights,
)

NO_POINT = np.zeros((0, 2), np.int64)
NO_CLASS = np.zeros(0, np.int64)


def pixels(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)


def classes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def probabilities(*objects: np.ndarray) -> np.ndarray:
    """(C + 1, h, w) from the maps of the C classes; what is left is background."""
    stacked = np.stack(objects).astype(np.float32)
    return np.concatenate([1.0 - stacked.sum(axis=0, keepdims=True), stacked])


def logs(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).double().log()


def seen(*shape: int) -> np.ndarray:
    return np.zeros(shape, bool)


def test_image_term_by_hand():
    # 1 x 3 pixels, classes a and b. The highest of a is 0.5, of b 0.4, of background 0.7. With a in the image and b
    # not: -(log 0.7 + log 0.5) / 2 - log(1 - 0.4).
    maps = probabilities(np.array([[0.5, 0.1, 0.2]]), np.array([[0.3, 0.2, 0.4]]))
    found = image_term(logs(maps), classes(0, 0), seen(1, 3)).item()
    assert found == pytest.approx(-(math.log(0.7) + math.log(0.5)) / 2 - math.log(0.6), rel=1e-5)
    # Nothing in the image: -log 0.7 - (log 0.5 + log 0.6) / 2.
    found = image_term(logs(maps), NO_CLASS, seen(1, 3)).item()
    assert found == pytest.approx(-math.log(0.7) - (math.log(0.5) + math.log(0.6)) / 2, rel=1e-5)
    # Everything in the image: no class is pushed down.
    found = image_term(logs(maps), classes(1, 0), seen(1, 3)).item()
    assert found == pytest.approx(-(math.log(0.7) + math.log(0.5) + math.log(0.4)) / 3, rel=1e-5)
    # The third pixel is ignored: the highest of b is 0.3 then.
    found = image_term(logs(maps), classes(0), np.array([[False, False, True]])).item()
    assert found == pytest.approx(-(math.log(0.7) + math.log(0.5)) / 2 - math.log(0.7), rel=1e-5)


def test_a_class_that_is_certain_and_absent_costs_a_finite_price():
    logits = torch.tensor([[-100.0], [100.0]])[:, :, None].requires_grad_()
    term = image_term(logits.log_softmax(dim=0), NO_CLASS, seen(1, 1))
    assert term.item() == pytest.approx(400.0)  # -log(1 - p) and -log of background, 200 each
    term.backward()
    assert torch.isfinite(logits.grad).all()


def test_point_term_is_a_sum_by_hand():
    maps = probabilities(np.array([[0.5, 0.1, 0.2]]), np.array([[0.3, 0.2, 0.4]]))
    # a at column 2: 0.2, b at column 0: 0.3.
    found = point_term(logs(maps), pixels((0, 2), (0, 0)), classes(0, 1)).item()
    assert found == pytest.approx(-math.log(0.2) - math.log(0.3), rel=1e-5)
    assert point_term(logs(maps), NO_POINT, NO_CLASS).item() == 0.0


def test_blobs_and_peaks_by_hand():
    a = np.array([[0.9, 0.1, 0.1, 0.1], [0.1, 0.6, 0.1, 0.8]])
    b = np.array([[0.0, 0.0, 0.8, 0.1], [0.0, 0.1, 0.1, 0.1]])
    maps = probabilities(a, b)
    blobs = find_blobs(maps)
    # (0, 0) and (1, 1) touch at a corner; (1, 3) of class a touches (0, 2) of class b, but is another class.
    assert blobs.labels.tolist() == [[1, 0, 3, 0], [0, 1, 0, 2]]
    assert blobs.class_ids.tolist() == [0, 0, 1]
    peaks = find_peaks(maps, blobs)
    assert peaks.pixels.tolist() == [[0, 0], [1, 3], [0, 2]]
    assert peaks.class_ids.tolist() == [0, 0, 1]
    assert peaks.scores.tolist() == pytest.approx([0.9, 0.8, 0.8])


def test_without_a_blob_there_is_no_peak():
    maps = probabilities(np.full((2, 3), 0.2))
    blobs = find_blobs(maps)
    peaks = find_peaks(maps, blobs)
    assert len(blobs) == 0
    assert peaks.pixels.shape == (0, 2)
    assert not false_positive_weights(blobs, NO_POINT, NO_CLASS, seen(2, 3)).any()


def test_false_positives_by_hand():
    labels = np.array([[1, 1, 0, 2, 2], [0, 1, 0, 0, 2], [3, 3, 3, 3, 0]], np.int32)
    blobs = Blobs(labels, classes(0, 1, 0))
    # Blob 1 has its point; blob 2, of class 1, has one of class 0 only; blob 3 has none, and one of its four pixels is
    # ignored: thirds remain.
    ignored = seen(3, 5)
    ignored[2, 0] = True
    found = false_positive_weights(blobs, pixels((1, 1), (0, 4)), classes(0, 0), ignored)
    third = 1 / 3
    expected = [[0, 0, 0, third, third], [0, 0, 0, 0, third], [0, third, third, third, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_boundaries_lie_on_the_ridge():
    # One row, a ridge at column 4 of 7: the water of column 0 gets there first (its way is flat), so that the basins
    # meet between 4 and 5 or between 3 and 4; in both cases column 4 is on the boundary, and the far ends are not.
    relief = np.array([[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]])
    found = boundaries(relief, pixels((0, 0), (0, 6)))[0]
    assert found[4]
    assert found.sum() == 2
    assert not found[:3].any() and not found[6]
    # With a wall of masked pixels the basins never touch.
    wall = np.array([[True, True, True, False, True, True, True]])
    assert not boundaries(relief, pixels((0, 0), (0, 6)), wall).any()


def two_humps(width: int, ridge: int) -> np.ndarray:
    """(1, 3, width) probability of one class: high everywhere but for a narrow valley at column `ridge`."""
    values = np.full((3, width), 0.9)
    values[:, ridge] = 0.6
    return values


def test_split_weights_of_one_blob_with_two_points():
    maps = probabilities(two_humps(15, 6))
    blobs = find_blobs(maps)
    assert len(blobs) == 1
    found = split_weights(maps, blobs, pixels((1, 2), (1, 12)), classes(0, 0))
    # Two boundaries, one over the image and one in the blob, each of weight 2 - 1.
    assert found.sum() == pytest.approx(2.0, rel=1e-5)
    assert found[:, 6].sum() > 0.9  # the valley is half of each two pixels wide boundary
    assert found[:, :5].sum() == found[:, 8:].sum() == 0.0


def test_split_weights_of_points_in_blobs_of_their_own():
    # Background at column 6: two blobs of one point each, so that only the boundary over the image is left.
    values = two_humps(15, 6)
    values[:, 6] = 0.1
    maps = probabilities(values)
    blobs = find_blobs(maps)
    assert len(blobs) == 2
    assert split_weights(maps, blobs, pixels((1, 2), (1, 12)), classes(0, 0)).sum() == pytest.approx(1.0, rel=1e-5)


def test_split_weights_grow_with_the_points_of_the_image_and_of_the_blob():
    # Left of the gap a blob with three points, right of it one with two: 5 - 1 + 3 - 1 + 2 - 1 = 7.
    values = np.full((3, 40), 0.9)
    values[:, [6, 13]] = 0.6
    values[:, 20] = 0.1
    values[:, 30] = 0.6
    maps = probabilities(values)
    points = pixels((1, 2), (1, 9), (1, 17), (1, 25), (1, 36))
    found = split_weights(maps, find_blobs(maps), points, classes(0, 0, 0, 0, 0))
    assert found.sum() == pytest.approx(7.0, rel=1e-5)
    # Inside the blobs: 2 over two boundaries on the left, 1 on the right, and a quarter of 4 at each of the four
    # valleys, where the one between the blobs has no part inside.
    assert found[:, 5:8].sum() == pytest.approx(1 + 1, rel=0.15)
    assert found[:, 29:32].sum() == pytest.approx(1 + 1, rel=0.15)


def test_points_of_different_classes_are_not_split():
    maps = probabilities(two_humps(15, 6) / 2, two_humps(15, 6) / 2.5)
    assert not split_weights(maps, find_blobs(maps), pixels((1, 2), (1, 12)), classes(0, 1)).any()
    assert not split_weights(maps, find_blobs(maps), NO_POINT, NO_CLASS).any()


def test_the_terms_together():
    maps = probabilities(two_humps(15, 6), np.full((3, 15), 0.01))
    log_p = logs(maps)
    points, labels = pixels((1, 2), (1, 12)), classes(0, 0)
    terms = location_terms(log_p, points, labels)  # log-probabilities are logits too
    assert list(terms) == ["image", "point", "split", "false_positive"]
    weights = split_weights(maps, find_blobs(maps), points, labels)
    assert terms["split"].item() == pytest.approx(-(weights * log_p[0].numpy()).sum(), rel=1e-4)
    assert terms["point"].item() == pytest.approx(-2 * math.log(0.9), rel=1e-4)
    assert terms["false_positive"].item() == 0.0
    # Without points the only blob is false: the mean over its 45 pixels of -log of background.
    terms = location_terms(log_p, NO_POINT, NO_CLASS)
    assert terms["false_positive"].item() == pytest.approx(-log_p[0].mean().item(), rel=1e-4)
    assert terms["split"].item() == 0.0


def test_gradients():
    torch.manual_seed(3)
    # Distinct maxima and no probability near the border of a blob, so that a small step changes none of the choices.
    logits = torch.randn(3, 4, 7, dtype=torch.float64)
    logits[1, :, :3] += 4.0
    logits[0, :, 3:] += 4.0
    logits.requires_grad_()
    points, labels = pixels((1, 0), (2, 2)), classes(0, 0)

    def log_p(values: torch.Tensor) -> torch.Tensor:
        return values.log_softmax(dim=0)

    assert torch.autograd.gradcheck(lambda v: image_term(log_p(v), labels, seen(4, 7)), logits)
    assert torch.autograd.gradcheck(lambda v: point_term(log_p(v), points, labels), logits)
    # location_terms works in float32, so its gradient is compared with a difference of float32 values.
    for name in ("split", "false_positive"):
        labelled = (points, labels) if name == "split" else (NO_POINT, NO_CLASS)
        (gradient,) = torch.autograd.grad(location_terms(logits, *labelled)[name], logits)
        direction = torch.randn(3, 4, 7, dtype=torch.float64)
        step = 1e-3
        values = [location_terms(logits + sign * step * direction, *labelled)[name].item() for sign in (1, -1)]
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-2)
        assert gradient.abs().sum() > 0


def test_pixels_of_points():
    points = np.array([[3.99, 0.0], [4.0, 2.5], [8.0, 4.0]], np.float32)
    assert point_pixels(points, (4, 8)).tolist() == [[0, 3], [2, 4], [3, 7]]


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_weights_of_random_maps(seed: int):
    """What is false and what is split follows from counting points in blobs, whatever the maps."""
    random = np.random.default_rng(seed)
    values = random.random((3, 9, 13))
    maps = (values / values.sum(axis=0)).astype(np.float32)
    count = int(random.integers(0, 7))
    points = np.stack([random.integers(0, 9, count), random.integers(0, 13, count)], axis=1)
    labels = random.integers(0, 2, count)
    blobs = find_blobs(maps)
    holders = [
        {tuple(point) for point, label in zip(points.tolist(), labels.tolist(), strict=True)
         if blobs.labels[tuple(point)] == row + 1 and label == blobs.class_ids[row]}
        for row in range(len(blobs))
    ]  # fmt: skip
    false = false_positive_weights(blobs, points, labels, seen(9, 13))
    assert false.sum() == pytest.approx(sum(not held for held in holders), rel=1e-4)
    split = split_weights(maps, blobs, points, labels)
    assert (split >= 0).all()
    assert (split.sum() > 0) == any(len({tuple(p) for p in points[labels == c].tolist()}) > 1 for c in (0, 1))
