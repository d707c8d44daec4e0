import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.tags.class_maps import (  # noqa: E402
    ensemble,
    map_loss,
    mean_map,
    pseudo_masks,
    segmentation_loss,
)


def random(*shape: int, seed: int = 0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_map_loss_by_hand():
    # exp = (1, 2, 1): p = 1/4, 1/2, 1/4, label 1: -log 1/2 - 2 log 3/4.
    # exp = (3, 1, 1): p = 3/5, 1/5, 1/5, label 0: -log 3/5 - 2 log 4/5. Mean over proposals, sum over classes.
    logits = torch.tensor([[1.0, 2, 1], [3, 1, 1]]).log()
    labels = torch.tensor([1, 0])
    first = -math.log(1 / 2) - 2 * math.log(3 / 4)
    second = -math.log(3 / 5) - 2 * math.log(4 / 5)
    assert map_loss(logits, labels, background=True).item() == pytest.approx((first + second) / 2)
    # Without a background: p of the first = 2/3, 1/3 over classes 1 and 2; the second is left out.
    assert map_loss(logits, labels, background=False).item() == pytest.approx(-2 * math.log(2 / 3))


def test_certain_maps_cost_what_the_logits_say_and_still_teach():
    # -log p of class 1 is 100, and so is -log(1 - p) of class 0.
    logits = torch.tensor([[100.0, 0.0]], requires_grad=True)
    loss = map_loss(logits, torch.tensor([1]), background=True)
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert logits.grad is not None and logits.grad.flatten().tolist() == pytest.approx([2.0, -2.0])


def test_mean_of_maps_by_hand():
    # Level 1: 2 to 6, so (2, 3, 4, 6) -> 0, 1/4, 1/2, 1. Level 2: -1 to 1, so (1, -1, 0, 0) -> 1, 0, 1/2, 1/2.
    one = torch.tensor([[2.0, 3], [4, 6]]).view(1, 1, 2, 2)
    two = torch.tensor([[1.0, -1], [0, 0]]).view(1, 1, 2, 2)
    mean = mean_map([one, two])
    assert mean.flatten().tolist() == pytest.approx([1 / 2, 1 / 8, 1 / 2, 3 / 4])
    assert pseudo_masks(mean, 0.5).flatten().tolist() == [False, False, False, True]
    assert pseudo_masks(mean, 0.4).flatten().tolist() == [True, False, True, True]


def test_each_map_has_a_range_of_its_own():
    maps = random(3, 4, 5, 5)
    scaled = maps * torch.arange(1, 13).view(3, 4, 1, 1) + 7.0
    assert torch.allclose(mean_map([scaled]), mean_map([maps]))
    assert mean_map([maps, scaled]).amin(dim=(2, 3)).abs().max() == 0
    assert mean_map([torch.ones(1, 2, 3, 3)]).sum() == 0
    assert mean_map([maps[:0], scaled[:0]]).shape == (0, 4, 5, 5)


def test_segmentation_loss_by_hand():
    # Two cells, background and two classes; proposal 0 is of class 1, proposal 1 is background.
    # sigmoid(log 3) = 3/4: the own map of proposal 0 says (3/4, 1/2) where (1, 0) is asked: (-log 3/4 - log 1/2) / 2.
    logits = torch.zeros(2, 3, 1, 2)
    logits[0, 2, 0, 0] = math.log(3.0)
    masks = torch.zeros(2, 3, 1, 2, dtype=torch.bool)
    masks[0, 2, 0, 0] = True
    labels = torch.tensor([2, 0])
    own = (-math.log(3 / 4) - math.log(1 / 2)) / 2
    assert segmentation_loss(logits, masks, labels, "label").item() == pytest.approx(own)
    # All maps: the other five are 1/2 everywhere, log 2 each; sum over maps, mean over the two proposals.
    assert segmentation_loss(logits, masks, labels, "all").item() == pytest.approx((own + 5 * math.log(2)) / 2)


def test_gradients():
    labels = torch.tensor([1, 0, 2])
    logits = random(3, 3).requires_grad_()
    for background in (True, False):
        assert torch.autograd.gradcheck(lambda some, b=background: map_loss(some, labels, b), logits)
    grids = random(3, 3, 2, 2).requires_grad_()
    masks = random(3, 3, 2, 2, seed=1) > 0.5
    for targets in ("label", "all"):
        assert torch.autograd.gradcheck(lambda some, t=targets: segmentation_loss(some, masks, labels, t), grids)


@pytest.mark.parametrize("labels", [[], [0, 0]])
def test_nothing_to_learn_costs_nothing(labels):
    logits = torch.ones(len(labels), 3, requires_grad=True)
    grids = torch.ones(len(labels), 3, 2, 2, requires_grad=True)
    labels = torch.tensor(labels, dtype=torch.int64)
    losses = [map_loss(logits, labels, background=False)]
    losses.append(segmentation_loss(grids, torch.zeros_like(grids, dtype=torch.bool), labels, "label"))
    assert [loss.item() for loss in losses] == [0.0, 0.0]
    sum(losses).backward()
    assert logits.grad is not None and grids.grad is not None


def test_ensemble_by_hand():
    maps, logits = random(2, 3, 1, 1).float(), torch.zeros(2, 3, 1, 1)
    logits[0, 1] = math.log(4.0)  # sigmoid: 4/5
    labels = torch.tensor([1, 2])
    found = ensemble(maps, logits, labels).flatten().tolist()
    assert found == pytest.approx([(maps[0, 1].item() + 0.8) / 2, (maps[1, 2].item() + 0.5) / 2])
    assert ensemble(maps, None, labels).flatten().tolist() == pytest.approx([maps[0, 1].item(), maps[1, 2].item()])
