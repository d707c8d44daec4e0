"""Shape-interpolating MoIPool: segments bent to a rectangle by thin-plate splines, then pooled (JTSM, section 3.3)."""

import functools

import torch
from torch import Tensor

from wsperception.nets.segment_set import SegmentSet

LANDMARKS = 5
"""Places along each side of the rectangle that are tied to the contour of a segment."""
SAMPLES = 3
"""Points per cell and axis of the pooled grid, of whose cells the largest value counts."""
CHUNK = 64
"""SegmentSet whose contours are looked for at once."""


def bent_lists(segments: SegmentSet, stride: int, size: tuple[int, int], side: int) -> Tensor:
    """Cells (P * side * side, SAMPLES^2) int64 that each window of each segment reads, on a map of `size` (h, w).

    The paper says that segments are interpolated to rectangles and not which points are tied to which. Here, at each
    of five heights the two ends of the rectangle are tied to the leftmost and the rightmost pixel of the segment in
    that row of its box, and likewise its top and bottom at five places along its width. So all segments share one
    spline basis, and bending them is one matrix product. A point reads the cell that it lies in, as RoIPool does; what
    bends over the border reads the last cell there.
    """
    landmarks = contour_landmarks(segments)  # (P, L, 2) pixels
    points = spline_basis(side * SAMPLES).to(landmarks) @ landmarks  # (P, (side SAMPLES)^2, 2)
    x, y = torch.div(points, stride, rounding_mode="floor").long().unbind(dim=2)
    cells = y.clamp(0, size[0] - 1) * size[1] + x.clamp(0, size[1] - 1)
    grid = cells.view(-1, side, SAMPLES, side, SAMPLES).transpose(2, 3)  # (P, side, side, SAMPLES, SAMPLES)
    return grid.reshape(-1, SAMPLES * SAMPLES)


def contour_landmarks(segments: SegmentSet) -> Tensor:
    """Points (P, 4 LANDMARKS, 2) x y on the contours of P segments: left, right, top, then bottom ends.

    A row or column of the box that the segment leaves empty, as one in several parts may, has its ends on the box.
    """
    superpixels, membership, boxes = segments.superpixels, segments.membership, segments.boxes
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
