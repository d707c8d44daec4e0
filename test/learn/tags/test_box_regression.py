import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.tags.box_regression import regressed, regression_loss  # noqa: E402

PSEUDO = torch.tensor([[0.0, 0, 10, 20], [50, 50, 60, 60]])
CLASSES = torch.tensor([1, 0])
BOXES = torch.tensor([[0.0, 0, 10, 16], [50, 50, 60, 60], [0, 0, 10, 10]])
# IoU with the pseudo boxes: 16/20 with the first, 1 with the second, 10/20 with the first: not paired at 0.6.


def test_loss_by_hand():
    # Box 0: centre y 8 to 10: 10 (10 - 8) / 16 = 1.25; 5 log(20 / 16) = 5 log 5/4 = 1.12. Smooth L1 of x is x - 1/2
    # from 1 on and x^2 / 2 below. Predicted is 0 but for tx of box 0 = 3: 2.5. Box 1 needs nothing, gets th = 1/2: 1/8.
    deltas = torch.zeros(3, 1, 4)
    deltas[0, 0, 0], deltas[1, 0, 3], deltas[2] = 3.0, 0.5, 9.0
    loss = regression_loss(deltas, BOXES, PSEUDO, CLASSES, 0.6)
    assert loss.item() == pytest.approx((2.5 + 0.75 + 5 * math.log(5 / 4) - 0.5 + 1 / 8) / 3)


def test_a_regressor_per_class_learns_the_class_of_the_pseudo_box():
    deltas = torch.zeros(3, 2, 4, requires_grad=True)
    regression_loss(deltas + 0.5, BOXES, PSEUDO, CLASSES, 0.6).backward()
    assert deltas.grad.abs().sum(dim=2).nonzero().tolist() == [[0, 1], [1, 0]]


def test_nothing_costs_nothing():
    deltas = torch.zeros(3, 1, 4, requires_grad=True)
    for boxes, pseudo, some in ((BOXES, PSEUDO[:0], deltas), (BOXES[:0], PSEUDO, deltas[:0])):
        loss = regression_loss(some, boxes, pseudo, CLASSES[: len(pseudo)], 0.6)
        assert loss.item() == 0.0
        loss.backward()
    far = regression_loss(deltas, BOXES + 200, PSEUDO, CLASSES, 0.6)
    assert far.item() == 0.0 and far.requires_grad


def test_gradcheck():
    deltas = torch.rand(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda some: regression_loss(some, BOXES.double(), PSEUDO.double(), CLASSES, 0.6), deltas
    )


def test_regressed_boxes_by_hand():
    # Width 10, height 16: centre (5, 8) + (1 / 10 * 10, -2.5 / 10 * 16) = (6, 4); sides 10 * 2 and 16 / 2.
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 1] = torch.tensor([1.0, -2.5, 5 * math.log(2.0), -5 * math.log(2.0)])
    box = regressed(deltas, BOXES[:1], torch.tensor([1]), (100, 15))
    assert box[0].tolist() == pytest.approx([0.0, 0.0, 15.0, 8.0])  # x from -4 to 16, cut at 0 and 15
    assert torch.equal(regressed(deltas, BOXES[:1], torch.tensor([0]), (100, 100)), BOXES[:1])
    assert torch.equal(regressed(torch.zeros(3, 0, 4), BOXES, torch.zeros(3).long(), (9, 9)), BOXES)
    agnostic = regressed(deltas[:, 1:], BOXES[:1], torch.tensor([7]), (100, 15))
    assert torch.equal(agnostic, box)
