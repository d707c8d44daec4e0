import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.panoptic_cleaning import IGNORE  # noqa: E402
from wsperception.learn.partial_labels import partial_cross_entropy  # noqa: E402


def test_by_hand():
    # Softmax of (log 3, 0) is (3/4, 1/4). One image of three pixels: class 0, ignored, class 1; and one all ignored.
    logits = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1).repeat(2, 1, 1, 3)
    labels = torch.tensor([[[0, IGNORE, 1]], [[IGNORE] * 3]])
    assert partial_cross_entropy(logits, labels).item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)


def test_ignored_pixels_have_no_gradient():
    logits = torch.rand(1, 3, 2, 2, requires_grad=True)
    partial_cross_entropy(logits, torch.tensor([[[2, IGNORE], [IGNORE, 0]]])).backward()
    grown = logits.grad.abs().sum(dim=1)[0] > 0
    assert grown.tolist() == [[True, False], [False, True]]


def test_nothing_known():
    logits = torch.rand(1, 2, 2, 2, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((1, 2, 2), IGNORE))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.abs().max() == 0.0


def test_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand((2, 3, 2, 2), generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1], [IGNORE, 2]], [[IGNORE, IGNORE], [1, 1]]])
    assert torch.autograd.gradcheck(lambda values: partial_cross_entropy(values, labels), (logits,))
