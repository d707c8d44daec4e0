"""Partial masks of RoIs: foreground, background and void, from the heat of the true boxes (WSMOTS Eq. 7)."""

import torch
from torch import Tensor
from torch.nn import functional

VOID = -1
"""Label of a cell that takes no part in a loss; the others are 0 and 1."""

OVERLAPS = ("tight", "literal")


def cell_centres(rois: Tensor, side: int) -> Tensor:
    """Centres (R, side, side, 2) x y of the cells of a grid over each of R RoIs (R, 4)."""
    steps = (torch.arange(side, device=rois.device, dtype=rois.dtype) + 0.5) / side
    corner, size = rois[:, None, :2], rois[:, None, 2:] - rois[:, None, :2]
    x, y = (corner + steps[:, None] * size).unbind(dim=2)  # (R, side) each
    return torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=3)


def inside_boxes(centres: Tensor, boxes: Tensor) -> Tensor:
    """Which points of (R, M, M, 2) lie in boxes (R, N, 4): (R, N, M, M) bool; x0 and y0 belong to a box."""
    x, y = centres[:, None].unbind(dim=4)  # (R, 1, M, M)
    x0, y0, x1, y1 = boxes[..., None, None].unbind(dim=2)  # (R, N, 1, 1)
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def sampled_maps(maps: Tensor, boxes: Tensor, centres: Tensor) -> Tensor:
    """Maps (R, M, M) that lie over boxes (R, 4), read bilinearly at points (R, M', M', 2): (R, M', M').

    A cell stands for its centre; beyond the outermost centres a map goes on with its edge.
    """
    corner, size = boxes[:, None, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None, None]
    grid = (centres - corner) * (2.0 / size.clamp(min=1e-6)) - 1.0
    read = functional.grid_sample(maps[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return read[:, 0]


def pseudo_labels(
    rois: Tensor, rows: Tensor, boxes: Tensor, heat: Tensor, threshold: float, overlap: str, side: int
) -> Tensor:
    """Labels (R, side, side) int8 in {0, 1, VOID} of the cells of RoIs of one frame (Eq. 7).

    rois       (R, 4)            extents of the grids
    rows       (R,) int64        the true box that each RoI is matched with
    boxes      (N, 4)            all true boxes of the frame
    heat       (N, M, M)         in [0, 1], over the boxes
    threshold  mu_A              from which on a cell of a box is foreground
    overlap    "tight": what lies outside the matched box is background, as a box is tight around its object, and what
               is hot in it and in another box is void. "literal": a cell is foreground where any box that holds it is
               hot there, as Eq. 7 reads, which gives the RoI of one object the pixels of its neighbour

    A cell belongs to a box where its centre does.
    """
    count = len(boxes)
    if len(rois) == 0 or count == 0:
        return torch.zeros((len(rois), side, side), dtype=torch.int8, device=rois.device)
    centres = cell_centres(rois, side)
    inside = inside_boxes(centres, boxes[None].expand(len(rois), -1, -1))  # (R, N, side, side)
    pairs = centres[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)  # (R * N, side, side, 2)
    read = sampled_maps(heat.repeat(len(rois), 1, 1), boxes.repeat(len(rois), 1), pairs).unflatten(0, (-1, count))
    hot = inside & (read >= threshold)
    if overlap == "literal":
        return _labels(inside.any(dim=1), hot.any(dim=1))
    own = torch.arange(len(rois), device=rois.device)
    several = hot.sum(dim=1) > 1
    return _labels(inside[own, rows], hot[own, rows] & ~several)


def _labels(inside: Tensor, foreground: Tensor) -> Tensor:
    labels = torch.full(inside.shape, VOID, dtype=torch.int8, device=inside.device)
    labels[~inside] = 0
    labels[foreground] = 1
    return labels


def localisation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (R,) of mask logits (R, M, M) against labels (R, M, M), a mean over the cells not VOID (Eq. 8).

    A RoI of void cells only costs 0.
    """
    return weighted_cross_entropy(logits, labels.clamp(min=0).to(logits.dtype), (labels != VOID).to(logits.dtype))


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy (R,) of logits (R, M, M) against targets in [0, 1], a mean over cells under `weights`."""
    cells = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (cells * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1e-6)
