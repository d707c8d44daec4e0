import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.detection import box_losses, mask_loss, mask_targets, proposal_losses  # noqa: E402


def test_proposal_losses_by_hand():
    # Anchor 2 is positive with logit log 3 (-log 3/4), anchor 0 negative with logit 0 (-log 1/2), anchor 1 not sampled.
    # The positive's box is 10 x 10 moved by 1 in x: target 0.1; predicted 0.3: |error| 0.2 > beta 1/9, so 0.2 - 1/18.
    objectness = torch.tensor([0.0, 50.0, math.log(3.0)])
    deltas = torch.zeros(3, 4)
    deltas[2, 0] = 0.3
    references = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 10.0, 10.0]])
    matches = torch.tensor([-1, -1, 1])
    truth = torch.tensor([[50.0, 50.0, 60.0, 60.0], [1.0, 0.0, 11.0, 10.0]])
    found = proposal_losses(objectness, deltas, references, matches, truth, (torch.tensor([2]), torch.tensor([0])))
    assert found[0].item() == pytest.approx((-math.log(3 / 4) - math.log(1 / 2)) / 2)
    assert found[1].item() == pytest.approx((0.2 - 1 / 18) / 2)


def test_box_losses_by_hand():
    # RoI 0 is of class 2 of 2 (row 2), RoI 1 background. Probabilities of the right answer: 1/2 and 1/4.
    logits = torch.log(torch.tensor([[1.0, 1.0, 2.0], [1.0, 2.0, 1.0]]))
    rois = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 5.0]])
    deltas = torch.full((2, 3, 4), 9.0)  # only row 2 of RoI 0 counts
    deltas[0, 2] = torch.tensor([0.0, 0.0, 0.0, 0.0])
    truth = torch.tensor([[0.1, 0.0, 10.1, 10.0], [0.0, 0.0, 1.0, 1.0]])
    found = box_losses(logits, deltas, rois, torch.tensor([2, 0]), truth)
    assert found[0].item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    # Target 10 * 0.1 / 10 = 0.1 < beta: 0.1^2 / (2 / 9) = 0.045, over 2 RoIs.
    assert found[1].item() == pytest.approx(0.0225, rel=1e-4)


def test_mask_targets_by_hand():
    # The mask is the left half of an 8 x 8 image. An RoI from 2 to 6 has it on its left; one from 0 to 4 is full.
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[1, :, :4] = True
    rois = torch.tensor([[2.0, 0.0, 6.0, 8.0], [0.0, 0.0, 4.0, 8.0], [0.0, 0.0, 8.0, 8.0]])
    found = mask_targets(mask, torch.tensor([1, 1, 0]), rois)
    assert found.shape == (3, 28, 28)
    assert found[0, :, :14].min() == 1
    assert found[0, :, 14:].max() == 0
    assert found[1].min() == 1
    assert found[2].max() == 0


def test_mask_loss_by_hand():
    logits = torch.zeros(1, 2, 2)
    logits[0, 0, 1] = math.log(3)
    targets = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    assert mask_loss(logits, targets).item() == pytest.approx((3 * math.log(2) - math.log(3 / 4)) / 4)


@pytest.mark.parametrize("function", [
    lambda x: sum(proposal_losses(
        x[:, 0], x[:, :4], torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4),
        (torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)),
    )),
    lambda x: sum(box_losses(
        x[:, :3], x[:, :12].reshape(-1, 3, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4)
    )),
    lambda x: mask_loss(x.reshape(0, 3, 4), torch.zeros(0, 3, 4)),
])  # fmt: skip
def test_losses_of_nothing_are_zero_and_attached(function):
    values = torch.zeros(0, 12, requires_grad=True)
    loss = function(values)
    assert loss.item() == 0.0
    loss.backward()
    assert values.grad is not None


def test_gradients():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    targets = (torch.rand(3, 4, 4) > 0.5).double()
    assert torch.autograd.gradcheck(lambda x: mask_loss(x, targets), logits)
    rois = torch.rand(4, 4, dtype=torch.float64) * 5
    rois[:, 2:] += rois[:, :2] + 1
    truth, classes = rois + torch.rand(4, 4, dtype=torch.float64) * 0.3, torch.tensor([1, 2, 0, 1])
    scores = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    deltas = torch.randn(4, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, d: box_losses(s, d, rois, classes, truth), (scores, deltas))
