"""Mask of interest pooling: features of segments of any shape on a grid of fixed size (JTSM, section 3.3).

A segment is a set of superpixels, so that thousands of them cost one label map and one matrix. Boxes are seen in whole
cells of the feature map: from the first to the last cell that the box touches. On that grid a segment that fills its
box gives what RoIPool gives.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align, roi_pool

from wsperception.nets.listed_max import listed_max
from wsperception.nets.segment_set import SegmentSet
from wsperception.nets.tps_pool import bent_lists

POOLINGS = ("invariant", "rank", "interpolating", "roi_pool", "roi_align")
COMPENSATIONS = ("cells", "values", "none")
CHUNK = 128
"""SegmentSet of which cells are listed at once."""


def pool_segments(
    features: Tensor, segments: SegmentSet, stride: int, side: int, pooling: str, compensation: str, factors: Tensor
) -> Tensor:
    """Features (P, side, side, C) of P segments; a cell of the grid without a feature is zero.

    features      (C, ceil(H / stride), ceil(W / stride))  of one image
    pooling       "invariant": Eq. 5 and 6. "rank": a cell's place is its rank among the segment's cells of its column
                  and of its row, as the released code has it, which straightens the shape. "interpolating": the segment
                  is bent to a rectangle by thin-plate splines. "roi_pool" and "roi_align": the box alone
    compensation  of "invariant" and "rank", the psi of Eq. 7: "cells" as in the released code, "values" as printed
    factors       (P,)  what else the features are multiplied by; no gradient flows to them

    The grid comes before the channels: flattened it needs no copy.
    """
    if pooling not in ("roi_pool", "roi_align"):
        return _moi_pool(features, segments, stride, side, pooling, compensation, factors)
    extents = cell_extents(segments.boxes, stride).to(features.dtype)
    rois = torch.cat([extents.new_zeros((len(extents), 1)), extents], dim=1)
    if pooling == "roi_pool":
        rois[:, 3:] -= 1  # it counts the last cell as inside
        boxed: Tensor = roi_pool(features[None], rois, side)
    else:
        rois[:, 1:] = segments.boxes / stride
        boxed = roi_align(features[None], rois, side, 1.0, 2, True)
    return boxed.permute(0, 2, 3, 1) * factors[:, None, None, None]


def cell_extents(boxes: Tensor, stride: int) -> Tensor:
    """First and last cell (P, 4) int64 that boxes (P, 4) touch, x0 y0 x1 y1, the last one exclusive."""
    first = torch.div(boxes[:, :2], stride, rounding_mode="floor")
    return torch.cat([first, torch.maximum((boxes[:, 2:] / stride).ceil(), first + 1)], dim=1).long()


def touched_cells(superpixels: Tensor, membership: Tensor, stride: int) -> Tensor:
    """Omega (Eq. 6): which cells (P, ceil(H / stride), ceil(W / stride)) bool hold a pixel of which segment."""
    held, size = _held(superpixels, len(membership), stride)
    return _touched(held, membership, size)


def _held(superpixels: Tensor, count: int, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """Which cell (h w, S), 0 or 1, has a pixel of which superpixel; and (h, w)."""
    height, width = superpixels.shape
    rows = torch.arange(height, device=superpixels.device)[:, None] // stride
    columns = torch.arange(width, device=superpixels.device)[None] // stride
    size = (-(-height // stride), -(-width // stride))
    held = torch.zeros((size[0] * size[1], count), device=superpixels.device)
    held[rows * size[1] + columns, superpixels] = 1.0
    return held, size


def _touched(held: Tensor, membership: Tensor, size: tuple[int, int]) -> Tensor:
    """Omega (P, h, w) of the segments of `membership` (S, P)."""
    return (held @ membership.to(held.dtype) > 0).T.reshape(-1, *size)


def _moi_pool(
    features: Tensor, segments: SegmentSet, stride: int, side: int, pooling: str, compensation: str, factors: Tensor
) -> Tensor:
    size = (features.shape[1], features.shape[2])
    scales = factors.to(features)
    if pooling == "interpolating":
        lists, compensation = bent_lists(segments, stride, size, side), "none"
    else:
        lists = _shape_lists(segments, stride, size, side, pooling == "rank")
    cells = side * side
    if compensation == "cells":
        filled = (lists >= 0).any(dim=1).view(-1, cells).sum(dim=1)
        scales = scales * cells / (filled + 1)
    pooled = listed_max(features.flatten(1).T, lists, scales.repeat_interleave(cells))
    grid = pooled.view(-1, side, side, len(features))
    if compensation == "values":
        # Eq. 7 per channel; what is almost nothing in all cells is not blown up.
        grid = grid * (cells / grid.sum(dim=(1, 2), keepdim=True).clamp(min=1e-3))
    return grid


def _shape_lists(segments: SegmentSet, stride: int, size: tuple[int, int], side: int, ranked: bool) -> Tensor:
    """Cells (P * side * side, K) of each window of each segment, filled up with -1."""
    extents = cell_extents(segments.boxes, stride)
    held, covered = _held(segments.superpixels, len(segments.membership), stride)
    assert covered == size, f"{size} cells for superpixels of {covered}"
    parts = []
    for start in range(0, len(segments), CHUNK):
        part = slice(start, start + CHUNK)
        inside = _touched(held, segments.membership[:, part], size)
        parts.append(_ranked_lists(inside, side) if ranked else _grid_lists(inside, extents[part], side))
    longest = max((part.shape[1] for part in parts), default=0)
    padded = [functional.pad(part, (0, longest - part.shape[1]), value=-1) for part in parts]
    return torch.cat(padded) if padded else extents.new_zeros((0, 0))


def _grid_lists(inside: Tensor, extents: Tensor, side: int) -> Tensor:
    """Cells of each window of Eq. 5 that lie in the segment; inside (P, h, w) bool, extents (P, 4)."""
    segment, row, column = torch.nonzero(inside, as_tuple=True)
    own = extents[segment]
    # A label map that was resized may reach a pixel beyond the box that was scaled with it.
    fits = (column >= own[:, 0]) & (row >= own[:, 1]) & (column < own[:, 2]) & (row < own[:, 3])
    segment, row, column, own = segment[fits], row[fits], column[fits], own[fits]
    places = torch.stack([row - own[:, 1], column - own[:, 0]])
    lengths = torch.stack([own[:, 3] - own[:, 1], own[:, 2] - own[:, 0]])
    return _window_lists(segment, row * inside.shape[2] + column, places, lengths, side, len(inside))


def _ranked_lists(inside: Tensor, side: int) -> Tensor:
    """As `_grid_lists`, each cell at its rank among the segment's cells of its column and of its row."""
    segment, row, column = torch.nonzero(inside, as_tuple=True)
    below, right = inside.cumsum(dim=1), inside.cumsum(dim=2)
    places = torch.stack([below[segment, row, column] - 1, right[segment, row, column] - 1])
    lengths = torch.stack([below[segment, -1, column], right[segment, row, -1]])
    return _window_lists(segment, row * inside.shape[2] + column, places, lengths, side, len(inside))


def _window_lists(segment: Tensor, cell: Tensor, places: Tensor, lengths: Tensor, side: int, count: int) -> Tensor:
    """Lists (count * side * side, K) of cells by window, filled up with -1.

    Window u of `side` over a length goes from floor(length u / side) to ceil(length (u + 1) / side): those of
    neighbours overlap, and over a length below `side` a cell lies in several.

    places, lengths  (2, Q): of Q cells along the rows and along the columns
    """
    first = places * side // lengths
    spans = -(-(places + 1) * side // lengths) - first  # windows that hold the cell
    many = spans[0] * spans[1]
    entry = torch.repeat_interleave(torch.arange(len(cell), device=cell.device), many)
    number = torch.arange(len(entry), device=cell.device) - (many.cumsum(0) - many)[entry]
    window = first[:, entry] + torch.stack([number // spans[1][entry], number % spans[1][entry]])
    lists = (segment[entry] * side + window[0]) * side + window[1]
    lists, order = lists.sort(stable=True)
    sizes = torch.bincount(lists, minlength=count * side * side)
    place = torch.arange(len(lists), device=cell.device) - (sizes.cumsum(0) - sizes)[lists]
    longest = int(sizes.max()) if len(lists) else 0
    filled = torch.full((count * side * side, longest), -1, dtype=torch.int64, device=cell.device)
    filled[lists, place] = cell[entry[order]]
    return filled
