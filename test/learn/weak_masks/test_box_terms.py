import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.weak_masks.box_terms import (  # noqa: E402
    PairwiseSettings,
    pairwise_loss,
    projection_loss,
    unequal_cost,
)

EXTENT = torch.tensor([[10.0, 20.0, 18.0, 32.0]])
# A grid of 4 x 4 over it has cells 2 wide and 3 high.


def random(*shape: int, seed: int = 0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_projections_by_hand():
    # Columns: the box spans x 13 to 18, in cells 1.5 to 4: coverage (0, 0.5, 1, 1).
    # Rows:    y 20 to 25, in cells 0 to 5/3: coverage (1, 2/3, 0, 0).
    # Largest of each column (0.2, 0.5, 0.9, 0.1), of each row (0.9, 0.5, 0, 0.2).
    # Across: 2 (0.25 + 0.9 + 0.1) / ((0.04 + 0.25 + 0.81 + 0.01) + 2.25) = 2.5 / 3.36
    # Down:   2 (0.9 + 1/3) / ((0.81 + 0.25 + 0 + 0.04) + 13/9) = (37/15) / (1.1 + 13/9)
    mask = torch.zeros(1, 4, 4)
    mask[0, 3, 0], mask[0, 1, 1], mask[0, 0, 2], mask[0, 0, 3] = 0.2, 0.5, 0.9, 0.1
    loss = projection_loss(mask, torch.tensor([[13.0, 20.0, 18.0, 25.0]]), EXTENT)
    assert loss.tolist() == pytest.approx([2 - 2.5 / 3.36 - (37 / 15) / (1.1 + 13 / 9)])


def test_a_mask_that_fills_its_box_costs_nothing_also_on_shares_of_cells():
    box = torch.tensor([[13.0, 20.0, 18.0, 25.0]])
    filled = torch.tensor([1, 2 / 3, 0, 0])[:, None] * torch.tensor([0, 0.5, 1, 1])
    assert projection_loss(filled[None], box, EXTENT).tolist() == pytest.approx([0.0], abs=1e-6)
    # So does an oblique one: only its shadows count.
    oblique = torch.zeros(1, 4, 4)
    oblique[0, 0, 3], oblique[0, 1, 2], oblique[0, 2, 1] = 1, 1, 1
    three = torch.tensor([[12.0, 20.0, 18.0, 29.0]])
    assert projection_loss(oblique, three, EXTENT).tolist() == pytest.approx([0.0], abs=1e-6)
    assert projection_loss(oblique.flip(2), three, EXTENT).item() > 0.3


def test_boxes_at_the_border_and_beyond():
    ones = torch.ones(1, 4, 4)
    wider = torch.tensor([[0.0, 0.0, 50.0, 50.0]])
    assert projection_loss(ones, wider, EXTENT).tolist() == pytest.approx([0.0], abs=1e-6)
    assert projection_loss(ones, torch.tensor([[40.0, 40.0, 50.0, 50.0]]), EXTENT).tolist() == [2.0]
    assert projection_loss(0 * ones, EXTENT, EXTENT).tolist() == [2.0]


def test_projection_gradcheck_permutation_and_shift():
    masks = random(2, 4, 4).requires_grad_()
    boxes = torch.tensor([[13.0, 20.0, 18.0, 25.0], [11.0, 23.5, 14.0, 32.0]], dtype=torch.float64)
    extents = EXTENT.double().expand(2, 4)
    assert torch.autograd.gradcheck(lambda some: projection_loss(some, boxes, extents), masks)
    loss = projection_loss(masks, boxes, extents)
    assert torch.allclose(projection_loss(masks.flip(0), boxes.flip(0), extents), loss.flip(0))
    assert torch.allclose(projection_loss(masks, boxes + 7, extents + 7), loss)
    assert torch.allclose(projection_loss(masks, 3 * boxes, 3 * extents), loss)


def test_unequal_cost_by_hand_and_at_the_extremes():
    # sigmoid(log 3) = 3/4, sigmoid(-log 4) = 1/5: -log(3/20 + 4/20).
    first, second = torch.tensor(math.log(3.0)), torch.tensor(-math.log(4.0))
    assert unequal_cost(first, second).item() == pytest.approx(-math.log(7 / 20))
    sure = torch.tensor([200.0, -200.0, 200.0], requires_grad=True)
    cost = unequal_cost(sure, torch.tensor([200.0, -200.0, -300.0]))
    assert cost.tolist() == pytest.approx([0.0, 0.0, 200.0])
    cost.sum().backward()
    assert sure.grad.tolist() == pytest.approx([0.0, 0.0, 1.0])


def test_pairs_by_hand():
    # 2 x 3 cells, dilation 1. Grey everywhere but for the white cell (0, 2), so all pairs that hold it are unlike.
    # Cell (0, 0) alone is inside. Its pairs in the grid: (0, 1), (1, 0), (1, 1).
    # p(0,0) = 3/4; the others 1/5, 1/2, 2/3: P = 7/20, 1/2, 1/2 + 1/12 = 7/12.
    images = torch.full((1, 3, 2, 3), 90.0)
    images[0, :, 0, 2] = 255.0
    p = torch.tensor([[[3 / 4, 1 / 5, 0.9], [1 / 2, 2 / 3, 0.1]]])
    inside = torch.zeros(1, 2, 3, dtype=torch.bool)
    inside[0, 0, 0] = True
    near = PairwiseSettings(dilation=1)
    expected = -(math.log(7 / 20) + math.log(1 / 2) + math.log(7 / 12)) / 3
    assert pairwise_loss(p.logit(), images, inside, near).tolist() == pytest.approx([expected])
    # With (0, 1) inside too: its own pairs are (0, 0) again, (1, 0), (1, 1), (1, 2); (0, 2) is white.
    # P of (1/5, 1/2) = 1/2; of (1/5, 2/3) = 2/15 + 4/15 = 2/5; of (1/5, 0.1) = 0.02 + 0.72 = 0.74.
    inside[0, 0, 1] = True
    more = -sum(math.log(part) for part in (7 / 20, 1 / 2, 2 / 5, 0.74))
    assert pairwise_loss(p.logit(), images, inside, near).tolist() == pytest.approx([(3 * expected + more) / 7])
    # At a distance of 2, (0, 0) has only the white cell: no pair, no cost.
    far = pairwise_loss(p.logit().requires_grad_(), images, inside, PairwiseSettings(dilation=2))
    assert far.tolist() == [0.0]
    assert far.requires_grad


def test_how_alike_is_alike():
    # exp(-d / 2) >= 0.3 up to d = 2.408. Greys of 100, 105, 106 have a lightness of 42.375, 44.414, 44.819: apart by
    # 2.04 and 2.44.
    logits = torch.tensor([[[2.0, -1.0]]])
    inside = torch.ones(1, 1, 2, dtype=torch.bool)
    found = [
        pairwise_loss(logits, torch.tensor([[[[100.0, grey]]] * 3]).view(1, 3, 1, 2), inside, PairwiseSettings(1))
        for grey in (105.0, 106.0)
    ]
    assert found[0].item() == pytest.approx(unequal_cost(torch.tensor(2.0), torch.tensor(-1.0)).item())
    assert found[1].item() == 0.0


def test_pairwise_gradcheck_flips_and_permutation():
    logits = 4 * random(2, 4, 5) - 2
    images = 60 + 12 * random(2, 3, 4, 5, seed=1)
    inside = random(2, 4, 5, seed=2) > 0.4
    settings = PairwiseSettings()
    assert torch.autograd.gradcheck(
        lambda some: pairwise_loss(some, images, inside, settings), logits.clone().requires_grad_()
    )
    loss = pairwise_loss(logits, images, inside, settings)
    assert (loss > 0).all()
    for axis in (1, 2):
        flipped = pairwise_loss(logits.flip(axis), images.flip(axis + 1), inside.flip(axis), settings)
        assert torch.allclose(flipped, loss)
    assert torch.allclose(pairwise_loss(logits.flip(0), images.flip(0), inside.flip(0), settings), loss.flip(0))
    assert torch.allclose(pairwise_loss(-logits, images, inside, settings), loss)
    assert not torch.allclose(pairwise_loss(logits, images.flip(3), inside, settings), loss)


def test_no_roi_stays_attached():
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    boxes = torch.zeros(0, 4)
    inside = torch.zeros(0, 4, 4, dtype=torch.bool)
    pairwise = pairwise_loss(logits, torch.zeros(0, 3, 4, 4), inside, PairwiseSettings())
    projection = projection_loss(logits.sigmoid(), boxes, boxes)
    assert pairwise.shape == projection.shape == (0,)
    (pairwise.sum() + projection.sum()).backward()
    assert logits.grad is not None


def test_settings_are_checked():
    with pytest.raises(InputError, match="dilation"):
        PairwiseSettings(dilation=0)
