"""Shape-interpolating MoIPool: segments bent to a rectangle by thin-plate splines, then pooled (JTSM, section 3.3)."""

import functools

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

LANDMARKS = 5
"""Places along each side of the rectangle that are tied to the contour of a segment."""
SAMPLES = 2
"""Points per cell and axis of the pooled grid, of which the largest value counts."""
CHUNK = 64
"""Segments whose features are sampled at once."""


def tps_pool(
    features: Tensor, superpixels: Tensor, membership: Tensor, boxes: Tensor, stride: int, side: int
) -> Tensor:
    """Features (P, side, side, C) of P segments; see `wsperception.nets.moi_pool.pool_segments`.

    The paper says that segments are interpolated to rectangles and not which points are tied to which. Here, at each
    of five heights the two ends of the rectangle are tied to the leftmost and the rightmost pixel of the segment in
    that row of its box, and likewise its top and bottom at five places along its width. So all segments share one
    spline basis, and bending them is one matrix product.
    """
    if len(boxes) == 0:
        return features.new_zeros((0, side, side, len(features))) + features.sum() * 0.0
    landmarks = contour_landmarks(superpixels, membership, boxes)  # (P, L, 2) pixels
    points = spline_basis(side * SAMPLES).to(boxes) @ landmarks  # (P, (side SAMPLES)^2, 2)
    size = points.new_tensor([features.shape[2], features.shape[1]])
    grid = (points * (2.0 / stride) / size - 1.0).to(features).unflatten(1, (side * SAMPLES, side * SAMPLES))
    # What is sampled takes SAMPLES^2 times the memory of what is pooled: it is made again for the gradient.
    parts = [checkpoint(_largest_samples, features, part, use_reentrant=False) for part in grid.split(CHUNK)]
    return torch.cat(parts).permute(0, 2, 3, 1)


def contour_landmarks(superpixels: Tensor, membership: Tensor, boxes: Tensor) -> Tensor:
    """Points (P, 4 LANDMARKS, 2) x y on the contours of P segments: left, right, top, then bottom ends.

    A row or column of the box that the segment leaves empty, as one in several parts may, has its ends on the box.
    """
    steps = (torch.arange(LANDMARKS, device=boxes.device, dtype=boxes.dtype) + 0.5) / LANDMARKS
    x = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])  # (P, LANDMARKS)
    y = boxes[:, 1:2] + steps * (boxes[:, 3:] - boxes[:, 1:2])
    left, right = _ends(superpixels, membership, y.long(), boxes[:, 0], boxes[:, 2])
    top, bottom = _ends(superpixels.T, membership, x.long(), boxes[:, 1], boxes[:, 3])
    ends = [
        torch.stack([left, y], 2),
        torch.stack([right, y], 2),
        torch.stack([x, top], 2),
        torch.stack([x, bottom], 2),
    ]
    return torch.cat(ends, dim=1)


@functools.cache
def spline_basis(side: int) -> Tensor:
    """Weights (side^2, 4 LANDMARKS) float64 on the landmarks of cell centres of a grid over the rectangle, row by row.

    Thin-plate splines (Bookstein 1989) with the kernel r^2 log r^2 through all landmarks: what they give depends
    linearly on where the landmarks are. Rows sum to 1.
    """
    steps = (torch.arange(LANDMARKS, dtype=torch.float64) + 0.5) / LANDMARKS
    low, high = torch.zeros_like(steps), torch.ones_like(steps)
    ties = torch.cat(
        [torch.stack(pair, dim=1) for pair in ((low, steps), (high, steps), (steps, low), (steps, high))]
    )  # (L, 2) on the unit square
    count = len(ties)
    system = torch.zeros((count + 3, count + 3), dtype=torch.float64)
    system[:count] = _spline_terms(ties, ties)
    system[count:, :count] = system[:count, count:].T
    centres = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    weights: Tensor = torch.linalg.solve(system, _spline_terms(points, ties).T)  # (L + 3, side^2)
    return weights[:count].T.contiguous()


def _spline_terms(points: Tensor, ties: Tensor) -> Tensor:
    """(Q, L + 3): the kernel from points (Q, 2) to ties (L, 2), 1, x and y."""
    square = (points[:, None] - ties[None]).square().sum(dim=2)
    kernel = square * square.clamp(min=1e-12).log()
    return torch.cat([kernel, torch.ones_like(points[:, :1]), points], dim=1)


def _ends(superpixels: Tensor, membership: Tensor, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """First and last column (P, LANDMARKS), the last one exclusive, of segments in rows (P, LANDMARKS) of the map."""
    height, width = superpixels.shape
    count = len(membership)
    place = torch.arange(height, device=rows.device)[:, None] * count + superpixels  # (H, W)
    columns = torch.arange(width, device=rows.device).expand(height, -1).flatten()
    empty = torch.full((height * count,), width, device=rows.device)
    first = empty.scatter_reduce(0, place.flatten(), columns, "amin").view(height, count)
    last = torch.zeros_like(empty).scatter_reduce(0, place.flatten(), columns + 1, "amax").view(height, count)
    rows = rows.clamp(0, height - 1)
    starts, ends = [], []
    for part, held in zip(rows.split(CHUNK), membership.T.split(CHUNK), strict=True):
        starts.append(torch.where(held[:, None], first[part], width).amin(dim=2))  # (p, LANDMARKS)
        ends.append(torch.where(held[:, None], last[part], 0).amax(dim=2))
    start, end = torch.cat(starts), torch.cat(ends)
    found = end > 0
    return torch.where(found, start, low[:, None]), torch.where(found, end, high[:, None])


def _largest_samples(features: Tensor, grid: Tensor) -> Tensor:
    """(p, C, side, side) of features (C, h, w) at points (p, side SAMPLES, side SAMPLES, 2)."""
    count, rows, columns, _ = grid.shape
    sampled = functional.grid_sample(
        features[None], grid.reshape(1, count * rows, columns, 2), padding_mode="border", align_corners=False
    )[0]  # (C, p rows, columns)
    largest = functional.max_pool2d(sampled, SAMPLES)  # (C, p side, side)
    return largest.view(len(features), count, -1, largest.shape[2]).transpose(0, 1)
