import math
from itertools import product

import pytest

torch = pytest.importorskip("torch")

from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.weak_masks.lab import rgb_to_lab  # noqa: E402
from wsperception.learn.weak_masks.temporal import (  # noqa: E402
    Matches,
    TemporalSettings,
    agreement_loss,
    best_matches,
    carried_masks,
    coarse_shift,
    temporal_loss,
)

ALIKE = math.exp(-0.5 * (44.41356 - 42.37460))
"""Of greys of 100 and 105, from their lightnesses: 0.3608."""


def grey(*shades: float, side: int = 1):
    return torch.tensor(shades, dtype=torch.float64)[:, None, None, None].expand(-1, 3, side, side)


def texture(count: int, side: int, seed: int = 0):
    return 255 * torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def everywhere(count: int, side: int):
    return torch.ones(count, side, side, dtype=torch.bool)


def logits(count: int, side: int, seed: int = 0):
    return torch.randn((count, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_single_cells_by_hand():
    # The first pair is alike; black and white are not, at exp(-50).
    p, q = torch.tensor([0.75, 0.75]).view(2, 1, 1), torch.tensor([0.2, 0.2]).view(2, 1, 1)
    inside = everywhere(2, 1)
    pair = (p.logit(), q.logit(), grey(100, 0), grey(105, 255), inside, inside, TemporalSettings())
    # 0.75 * 0.2 + 0.25 * 0.8 = 0.35.
    assert temporal_loss(*pair).tolist() == pytest.approx([-math.log(0.35), 0.0])
    # The target 0.2 for p, the target 0.75 for q.
    there = -(0.2 * math.log(0.75) + 0.8 * math.log(0.25))
    back = -(0.75 * math.log(0.2) + 0.25 * math.log(0.8))
    assert agreement_loss(*pair).tolist() == pytest.approx([(there + back) / 2, 0.0], rel=1e-5)
    found = best_matches(grey(100, 0), grey(105, 255), inside, TemporalSettings())
    assert found.cells.shape == found.similarities.shape == (2, 1, 5)
    assert found.similarities[:, 0, :2].tolist() == [pytest.approx([ALIKE, 0.0], abs=1e-5), [0.0, 0.0]]


def test_all_pairs_of_a_window_by_hand():
    # Of one colour, each cell of 2 x 2 matches all 4 of the other grid; what is beyond the grid does not count.
    p, q = [0.75, 0.2, 0.5, 0.9], [0.6, 0.3, 0.8, 0.1]
    a, b = (torch.tensor(part, dtype=torch.float64).view(1, 2, 2).logit() for part in (p, q))
    settings = TemporalSettings(coarse=0, window=1, best=9)
    only = torch.tensor([[[False, True], [False, False]]])

    def mean(first, second):
        costs = [-math.log(x * y + (1 - x) * (1 - y)) for x, y in product(first, second)]
        return sum(costs) / len(costs)

    # From A only the cell of 0.2 looks for matches, from B all do.
    loss = temporal_loss(a, b, grey(100, side=2), grey(105, side=2), only, everywhere(1, 2), settings)
    assert loss.tolist() == pytest.approx([(mean([0.2], q) + mean(p, q)) / 2])
    # Alike to 0.36 only, they match at no threshold above.
    strict = TemporalSettings(coarse=0, window=1, best=9, similarity=0.37)
    images = grey(100, side=2), grey(105, side=2)
    assert temporal_loss(a, b, *images, only, only, strict).tolist() == [0.0]


def test_carried_masks_by_hand():
    cells = torch.tensor([[[3, 1], [0, 0], [0, 3], [2, 1]]])
    similarities = torch.tensor([[[0.6, 0.2], [0.0, 0.0], [0.5, 0.0], [0.25, 0.25]]])
    masks, weights = carried_masks(torch.tensor([[[0.1, 0.6], [0.3, 0.9]]]), Matches(cells, similarities))
    # (0.6 * 0.9 + 0.2 * 0.6) / 0.8 = 0.825; nothing; 0.1; (0.3 + 0.6) / 2 = 0.45.
    assert masks.flatten().tolist() == pytest.approx([0.825, 0.0, 0.1, 0.45])
    assert weights.flatten().tolist() == pytest.approx([0.6, 0.0, 0.5, 0.25])


def test_coarse_shift_by_hand():
    # The white cell of A is at row 1, column 0, that of B at row 2, column 2: 1 down, 2 right.
    a, b = grey(90, side=4).clone(), grey(90, side=4).clone()
    a[0, :, 1, 0] = b[0, :, 2, 2] = 255.0
    inside = torch.zeros(1, 4, 4, dtype=torch.bool)
    inside[0, :3, :2] = True
    labs = rgb_to_lab(a), rgb_to_lab(b)
    assert coarse_shift(*labs, inside, 2).tolist() == [[1, 2]]
    assert coarse_shift(labs[1], labs[0], inside.flip(1, 2), 2).tolist() == [[-1, -2]]
    assert coarse_shift(*labs, torch.zeros_like(inside), 2).tolist() == [[0, 0]]
    # Of the whole grid that would leave 6 of 16 cells, fewer than 12. Of the steps of 1, which keep 12, (0, -1) loses
    # A's white cell and leaves one unlike; the others leave two, as (0, 0) does of 16.
    assert coarse_shift(*labs, everywhere(1, 4), 2).tolist() == [[0, -1]]


def test_a_moved_texture_is_found():
    # B shows A's cells 2 down and 1 left.
    wide = texture(1, 12)
    a, b = wide[..., 2:10, 2:10], wide[..., 0:8, 3:11]
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    inside[0, 2:5, 2:6] = True
    found = best_matches(a, b, inside, TemporalSettings(window=1, best=1))
    rows, columns = torch.nonzero(inside[0]).unbind(dim=1)
    asked = inside.flatten()
    assert found.cells[0, asked, 0].tolist() == ((rows + 2) * 8 + columns - 1).tolist()
    assert torch.allclose(found.similarities[0, asked, 0], torch.ones(len(rows), dtype=torch.float64))
    assert (found.similarities[0, ~asked] == 0).all()
    # A mask that moves along is carried back to where it came from, and costs what it costs to differ from itself.
    mask = (torch.arange(12) % 3 == 0).double().expand(1, 12, 12)
    moved, _ = carried_masks(mask[..., 0:8, 3:11], found)
    assert torch.equal(moved[inside], mask[..., 2:10, 2:10][inside])
    sure = 20 * (2 * mask - 1)
    pair = (sure[..., 2:10, 2:10], a, inside)
    there = torch.zeros_like(inside)
    there[0, 4:7, 1:5] = True
    settings = TemporalSettings(window=1, best=1)
    loss = temporal_loss(pair[0], sure[..., 0:8, 3:11], a, b, inside, there, settings)
    assert loss.item() < 1e-6
    assert temporal_loss(pair[0], sure[..., 1:9, 4:12], a, b, inside, there, settings).item() > 1.0


@pytest.mark.parametrize("loss_of", [temporal_loss, agreement_loss])
def test_properties(loss_of):
    images = texture(2, 5)
    others = images + 6 * logits(2, 5, seed=3)[:, None]
    a, b = logits(2, 5, seed=1), logits(2, 5, seed=2)
    inside, where = logits(2, 5, seed=4) > -0.3, logits(2, 5, seed=5) > 0.1
    settings = TemporalSettings(coarse=1, window=1, best=2)
    loss = loss_of(a, b, images, others, inside, where, settings)
    assert loss.shape == (2,) and (loss > 0).all()
    assert torch.allclose(loss_of(b, a, others, images, where, inside, settings), loss)
    everything = (a, b, images, others, inside, where)
    assert torch.allclose(loss_of(*(part.flip(0) for part in everything), settings), loss.flip(0))
    for axis in (-1, -2):
        assert torch.allclose(loss_of(*(part.flip(axis) for part in everything), settings), loss)
    assert torch.allclose(loss_of(-a, -b, *everything[2:], settings), loss)
    assert not torch.allclose(loss_of(a.flip(-1), *everything[1:], settings), loss)


def test_gradients():
    images = texture(2, 3)
    inside = logits(2, 3, seed=4) > -0.3
    settings = TemporalSettings(coarse=1, window=1, best=2)
    a, b = logits(2, 3, seed=1).requires_grad_(), logits(2, 3, seed=2).requires_grad_()
    rest = images, images + 3, inside, inside, settings
    assert torch.autograd.gradcheck(lambda p, q: temporal_loss(p, q, *rest), (a, b))
    # Of the agreement, a mask's own target is held: by hand, A's gradient is that of its half alone.
    agreement_loss(a, b, *rest).sum().backward()
    masks, weights = carried_masks(b.detach().sigmoid(), best_matches(*rest[:3], settings))
    expected = 0.5 * weights * (a.detach().sigmoid() - masks) / weights.sum(dim=(1, 2), keepdim=True)
    assert torch.allclose(a.grad, expected)


@pytest.mark.parametrize("loss_of", [temporal_loss, agreement_loss])
def test_nothing_stays_attached(loss_of):
    a, b = torch.zeros(0, 4, 4, requires_grad=True), torch.zeros(0, 4, 4, requires_grad=True)
    images, inside = torch.zeros(0, 3, 4, 4), torch.zeros(0, 4, 4, dtype=torch.bool)
    loss = loss_of(a, b, images, images, inside, inside, TemporalSettings())
    assert loss.shape == (0,)
    loss.sum().backward()
    assert a.grad is not None and b.grad is not None


def test_settings_are_checked():
    with pytest.raises(InputError, match="window"):
        TemporalSettings(window=-1)
