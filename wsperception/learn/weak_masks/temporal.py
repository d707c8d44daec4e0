"""One object, two frames: what looks alike should have one label (MaskFreeVIS, arXiv:2303.15904; ids as ours).

MaskFreeVIS compares whole frames, as it has no ids. Here ids say which RoIs show one object, so its two mask grids are
compared: they follow the object, whose motion and growth are gone but for what the boxes miss. That is undone by a
coarse shift of the whole grid, and the window around it may be small.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn.weak_masks.box_terms import unequal_cost
from wsperception.learn.weak_masks.lab import rgb_to_lab
from wsperception.learn.weak_masks.pseudo_labels import weighted_cross_entropy
from wsperception.settings import check, setting

PATCH = 3
"""Side of the patches that are compared, in cells."""


@dataclass(frozen=True)
class TemporalSettings:
    """Which cells of two grids match. `best` and `similarity` are MaskFreeVIS's."""

    coarse: int = setting(3, "farthest coarse shift, down and right", unit="cells", low=0, high=16)
    window: int = setting(2, "farthest match from there, down and right", unit="cells", low=0, high=8)
    best: int = setting(5, "matches of a cell at most", low=1, high=25)
    similarity: float = setting(0.05, "exp(-|difference in Lab| / 2) of patches below which none match", low=0, high=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class Matches:
    """Where the cells of P grids of M x M are found in P others, the best first.

    cells         (P, M * M, K) int64    row * M + column in the other grid
    similarities  (P, M * M, K) float    in (0, 1]; 0 where there is no match, as for cells that were not asked for
    """

    cells: Tensor
    similarities: Tensor


def temporal_loss(
    logits_a: Tensor,
    logits_b: Tensor,
    images_a: Tensor,
    images_b: Tensor,
    inside_a: Tensor,
    inside_b: Tensor,
    settings: TemporalSettings,
) -> Tensor:
    """-log P(one label), averaged over the matches from A to B, and from B to A; the mean of the two: (P,).

    logits_a, logits_b  (P, M, M) float       masks of P objects in two frames each
    images_a, images_b  (P, 3, M, M) float    RGB, 0 to 255, of the masks' cells; no gradient goes here
    inside_a, inside_b  (P, M, M) bool        cells of the boxes: only they look for matches, anywhere in the other grid

    P = p q + (1 - p)(1 - q)  (Eq. 4). A pair without a match costs 0; no pair gives (0,), attached to the graph.
    """
    there = best_matches(images_a, images_b, inside_a, settings)
    back = best_matches(images_b, images_a, inside_b, settings)
    return (_unequal(logits_a, logits_b, there) + _unequal(logits_b, logits_a, back)) / 2


def agreement_loss(
    logits_a: Tensor,
    logits_b: Tensor,
    images_a: Tensor,
    images_b: Tensor,
    inside_a: Tensor,
    inside_b: Tensor,
    settings: TemporalSettings,
) -> Tensor:
    """Cross-entropy of either mask with the other one carried over to it; the mean of the two: (P,).

    Arguments: `temporal_loss`. What is carried over is a target, without a gradient: a mask learns from its other frame
    as from a teacher. Cells weigh as much as they resemble their best match.
    """
    losses = []
    for logits, other, images, others, inside in (
        (logits_a, logits_b, images_a, images_b, inside_a),
        (logits_b, logits_a, images_b, images_a, inside_b),
    ):
        masks, weights = carried_masks(other.detach().sigmoid(), best_matches(images, others, inside, settings))
        losses.append(weighted_cross_entropy(logits, masks, weights))
    return (losses[0] + losses[1]) / 2


def carried_masks(masks: Tensor, matches: Matches) -> tuple[Tensor, Tensor]:
    """Masks (P, M, M) of the frames that `matches` point to, as seen in those they start from: (P, M, M).

    A cell takes the mean of its matches' values, weighted by similarity; one without a match takes 0. Also returns the
    similarity (P, M, M) of the best match, 0 where there is none. Those of several frames of a track may be averaged.
    """
    read = _gathered(masks, matches.cells)
    weights = matches.similarities.to(read.dtype)
    means = (read * weights).sum(dim=2) / weights.sum(dim=2).clamp(min=1e-6)
    return means.view_as(masks), weights.amax(dim=2).view_as(masks)


@torch.no_grad()
def best_matches(images_a: Tensor, images_b: Tensor, inside: Tensor, settings: TemporalSettings) -> Matches:
    """Where the cells `inside` (P, M, M) of images A (P, 3, M, M) RGB are found in images B.

    Patches of 3 x 3 cells are compared: by the root of their mean squared distance in Lab d, similarity exp(-d / 2).
    """
    lab_a, lab_b = rgb_to_lab(images_a), rgb_to_lab(images_b)
    side = inside.shape[-1]
    patches_a, patches_b = _patches(lab_a), _patches(lab_b)
    shift = coarse_shift(lab_a, lab_b, inside, settings.coarse)
    steps = torch.arange(side, device=inside.device)
    similarities, cells = [], []
    for step in _steps(settings.window):
        rows, columns = (steps + shift[:, axis, None] + step[axis] for axis in (0, 1))  # (P, M) each
        exists = (_within(rows, side)[:, :, None] & _within(columns, side)[:, None]).flatten(1)
        target = (rows.clamp(0, side - 1)[:, :, None] * side + columns.clamp(0, side - 1)[:, None]).flatten(1)
        found = patches_b.gather(2, target[:, None].expand(-1, patches_b.shape[1], -1))
        distance = ((patches_a - found).square().sum(dim=1) / PATCH**2).sqrt()
        similarities.append(torch.exp(-0.5 * distance) * exists)
        cells.append(target)
    best = min(settings.best, len(cells))
    found, order = torch.stack(similarities, dim=2).topk(best, dim=2)
    kept = (found >= settings.similarity) & inside.flatten(1)[:, :, None]
    return Matches(torch.stack(cells, dim=2).gather(2, order), found * kept)


@torch.no_grad()
def coarse_shift(lab_a: Tensor, lab_b: Tensor, inside: Tensor, reach: int) -> Tensor:
    """Cells down and right by which images B must be read to look most like A inside: (P, 2) int64.

    lab_a, lab_b  (P, 3, M, M)
    inside        (P, M, M) bool   cells of A; three of four must stay in the grid, or it would pay to lose the object

    Of shifts that are equally good, the shortest is taken; where nothing is inside, none.
    """
    side = inside.shape[-1]
    needed = inside.sum(dim=(1, 2)) * 0.75
    steps, costs = _steps(min(reach, side - 1)), []
    for down, right in steps:
        here = (..., _overlap(side, -down), _overlap(side, -right))
        there = (..., _overlap(side, down), _overlap(side, right))
        distance = (lab_a[here] - lab_b[there]).norm(dim=1)
        count = inside[here].sum(dim=(1, 2))
        cost = (distance * inside[here]).sum(dim=(1, 2)) / count.clamp(min=1)
        costs.append(cost.masked_fill((count < needed) | (count == 0), torch.inf))
    best = torch.stack(costs).argmin(dim=0)
    return torch.tensor(steps, device=inside.device)[best]


def _unequal(logits: Tensor, others: Tensor, matches: Matches) -> Tensor:
    kept = (matches.similarities > 0.0).to(logits.dtype)
    costs = unequal_cost(logits.flatten(1)[:, :, None], _gathered(others, matches.cells))
    return (costs * kept).sum(dim=(1, 2)) / kept.sum(dim=(1, 2)).clamp(min=1.0)


def _gathered(maps: Tensor, cells: Tensor) -> Tensor:
    """Values (P, N, K) of maps (P, M, M) at cells (P, N, K)."""
    return maps.flatten(1).gather(1, cells.flatten(1)).view(cells.shape)


def _patches(images: Tensor) -> Tensor:
    """The patch (P, 27, M * M) around each cell; beyond its edge an image goes on with it."""
    return functional.unfold(functional.pad(images, [PATCH // 2] * 4, mode="replicate"), PATCH)


def _steps(reach: int) -> list[tuple[int, int]]:
    """Down and right within `reach`, the shortest first."""
    reached = range(-reach, reach + 1)
    return sorted(product(reached, reached), key=lambda step: step[0] ** 2 + step[1] ** 2)


def _within(indices: Tensor, side: int) -> Tensor:
    return (indices >= 0) & (indices < side)


def _overlap(side: int, step: int) -> slice:
    """The rows of a grid that are reached by `step` from inside of it."""
    return slice(max(step, 0), side + min(step, 0))
