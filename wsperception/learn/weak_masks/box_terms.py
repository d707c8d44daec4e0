"""What boxes say about masks without a word on the inside: projections and colour (BoxInst, arXiv:2012.02310).

Both are values per RoI. The mask's grid must reach beyond the box: where it ends at the box, a full grid is optimal.
The colour term alone is content with an empty mask, the projection term with a full box.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn.weak_masks.lab import rgb_to_lab
from wsperception.settings import check, setting

_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Rows down and columns right: each pair of the 3 x 3 neighbourhood once."""


@dataclass(frozen=True)
class PairwiseSettings:
    """Which neighbours should have one label; defaults are BoxInst's."""

    dilation: int = setting(2, "distance of the 3 x 3 neighbours", unit="cells", low=1, high=16)
    similarity: float = setting(0.3, "exp(-|difference in Lab| / 2) from which on they should", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)


def projection_loss(masks: Tensor, boxes: Tensor, extents: Tensor) -> Tensor:
    """How much the shadows of R masks on both axes differ from those of their boxes: (R,), in [0, 2].

    masks    (R, M, M) float   probabilities
    boxes    (R, 4)            in image pixels
    extents  (R, 4)            of the masks' grids, in image pixels

    The shadow of a mask is its largest value in each column, and in each row; that of a box is how much of each column
    and row it covers, so that a border between cells asks for a share. They are compared by 1 - dice with squared
    sizes (Eq. 2-3), which is 0 where they are equal, also on shares. A box wholly outside of its grid costs 2, without
    a gradient. No RoI gives (0,), attached to the graph.
    """
    side = masks.shape[-1]
    corner, size = extents[:, None, :2], (extents[:, 2:] - extents[:, :2])[:, None]
    low, high = ((part[:, None] - corner) / size.clamp(min=1e-6) * side for part in (boxes[:, :2], boxes[:, 2:]))
    cells = torch.arange(side, device=masks.device)[:, None]
    covered = (torch.minimum(high, cells + 1) - torch.maximum(low, cells)).clamp(min=0.0)  # (R, M, 2)
    across, down = covered.to(masks.dtype).unbind(dim=2)
    return _dice_loss(masks.amax(dim=1), across) + _dice_loss(masks.amax(dim=2), down)


def _dice_loss(shadows: Tensor, targets: Tensor) -> Tensor:
    sizes = shadows.square().sum(dim=1) + targets.square().sum(dim=1)
    return 1.0 - 2.0 * (shadows * targets).sum(dim=1) / sizes.clamp(min=1e-6)


def pairwise_loss(logits: Tensor, images: Tensor, inside: Tensor, settings: PairwiseSettings) -> Tensor:
    """-log P(one label), averaged over the pairs of neighbours of similar colour around cells inside the box: (R,).

    logits  (R, M, M) float       of the masks
    images  (R, 3, M, M) float    RGB, 0 to 255, of the masks' cells; no gradient goes here
    inside  (R, M, M) bool        cells of the box; a neighbour may lie outside of it, not outside of the grid

    P = p_i p_j + (1 - p_i)(1 - p_j)  (Eq. 5-6), from logits, so that it stays finite. A pair inside counts from either
    end. A RoI without such pairs costs 0; no RoI gives (0,), attached to the graph.
    """
    colours = rgb_to_lab(images)
    total, count = logits.sum(dim=(1, 2)) * 0.0, logits.new_zeros(len(logits))
    for step in _NEIGHBOURS:
        down, right = (settings.dilation * part for part in step)
        first, second = _pairs(logits, down, right)
        difference = torch.sub(*_pairs(colours, down, right)).norm(dim=1)
        ends = torch.add(*(part.to(logits.dtype) for part in _pairs(inside, down, right)))
        weights = ends * (torch.exp(-0.5 * difference) >= settings.similarity)
        total = total + (weights * unequal_cost(first, second)).sum(dim=(1, 2))
        count = count + weights.sum(dim=(1, 2))
    return total / count.clamp(min=1.0)


def _pairs(maps: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Values of maps (..., M, M) and of the cells `down` and `right` of them, where both are in the grid."""
    rows, columns = maps.shape[-2] - down, maps.shape[-1] - abs(right)
    if rows <= 0 or columns <= 0:
        return maps[..., :0, :0], maps[..., :0, :0]
    left, shifted = max(-right, 0), max(right, 0)
    first = maps[..., :rows, left : left + columns]
    return first, maps[..., down:, shifted : shifted + columns]


def unequal_cost(first: Tensor, second: Tensor) -> Tensor:
    """-log(p q + (1 - p)(1 - q)) of two logits, elementwise; finite and with a gradient however sure they are."""
    both = functional.logsigmoid(first) + functional.logsigmoid(second)
    neither = functional.logsigmoid(-first) + functional.logsigmoid(-second)
    return -torch.logaddexp(both, neither)
