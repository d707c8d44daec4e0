"""Eq. 2 and 3 of WISE by hand, their gradients, and what is drawn from proposals."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.data.segments import OUTSIDE, Segments  # noqa: E402
from wsperception.learn.points.affinity import (  # noqa: E402
    SMALLEST,
    background,
    distances,
    draw_pixels,
    draw_segments,
    pair_losses,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strip() -> Segments:
    """Five columns of superpixels 0 0 1 2 and outside; segments {0}, {0, 1}, {2} with odds 1 : 3 : 5."""
    superpixels = np.array([[0, 0, 1, 2, OUTSIDE], [0, 1, 1, 2, OUTSIDE]], np.uint16)
    membership = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool)
    return Segments(superpixels, membership, np.array([0.1, 0.3, 0.5], np.float32))


def test_similarity_by_hand():
    # d = 2, |(3, 0) - (0, 4)|^2 = 25, over 2 d = 4: 6.25; to itself 0.
    found = distances(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0], [3.0, 0.0]]))
    assert found.tolist() == [[6.25, 0.0]]


def test_pair_losses_by_hand():
    # The anchor lies 6.25 from the first and 1 from the second: of one object they cost 6.25 and 1, of two
    # -log(1 - exp(-6.25)) and -log(1 - exp(-1)).
    anchor, others = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0], [3.0, 2.0]])
    same = pair_losses(anchor, others, torch.tensor([[True, True]]))
    assert same.tolist() == [pytest.approx([6.25, 1.0])]
    other = pair_losses(anchor, others, torch.tensor([[False, False]]))
    assert other.tolist() == [pytest.approx([-math.log(1 - math.exp(-6.25)), -math.log(1 - math.exp(-1))], abs=1e-6)]


def test_equal_embeddings_of_different_objects_cost_a_finite_price():
    one = torch.ones(1, 4, requires_grad=True)
    loss = pair_losses(one, torch.ones(1, 4), torch.tensor([[False]]))
    assert loss.item() == pytest.approx(-math.log(SMALLEST), rel=1e-3)
    loss.sum().backward()
    assert torch.isfinite(one.grad).all()


def test_far_pairs_of_one_object_still_pull():
    # S = exp(-200): a bound on S would leave no gradient.
    one = torch.zeros(1, 1, requires_grad=True)
    pair_losses(one, torch.full((1, 1), 20.0), torch.tensor([[True]])).sum().backward()
    assert one.grad.item() == pytest.approx(-20.0)


def test_gradients():
    torch.manual_seed(1)
    anchors = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    others = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    same = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert torch.autograd.gradcheck(lambda a, b: pair_losses(a, b, same), (anchors, others))


def test_segments_are_drawn_by_their_objectness():
    # Pixel (0, 1) is in {0} and {0, 1}, odds 1 : 3; (1, 3) in {2} only; (0, 4) lies outside.
    pixels = np.array([[0, 1]] * 400 + [[1, 3], [0, 4]])
    drawn = draw_segments(strip(), pixels, generator())
    assert drawn[400:].tolist() == [2, -1]
    assert set(drawn[:400].tolist()) == {0, 1}
    assert (drawn[:400] == 1).mean() == pytest.approx(0.75, abs=0.07)
    assert draw_segments(strip(), pixels, generator()).tolist() == drawn.tolist()
    assert len(draw_segments(strip(), pixels[:0], generator())) == 0


def test_background_is_what_no_chosen_segment_covers():
    # {0} and {2} leave superpixel 1; {0, 1} leaves superpixel 2; nothing outside of the image is background.
    found = background(strip(), np.array([0, 2]))
    assert found.astype(int).tolist() == [[0, 0, 1, 0, 0], [0, 1, 1, 0, 0]]
    found = background(strip(), np.array([1, -1]))
    assert found.astype(int).tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]
    assert background(strip(), np.zeros(0, np.int64)).sum() == 8


def test_pixels_are_drawn_from_the_mask():
    mask = np.array([[0, 1, 0], [0, 0, 1]], bool)
    drawn = draw_pixels(mask, 50, generator())
    assert drawn.shape == (50, 2)
    assert {tuple(pixel) for pixel in drawn.tolist()} == {(0, 1), (1, 2)}
    assert draw_pixels(np.zeros((2, 3), bool), 5, generator()).shape == (0, 2)
