"""Operations with fixed shapes that ONNX and TensorRT take without a plugin: suppression and RoIAlign.

All are batched over the leading dimension and equal to torchvision's up to rounding.
"""

import torch
from torch import Tensor
from torch.nn import functional

NMS_ROUNDS = 24


def suppression(boxes: Tensor, valid: Tensor, threshold: float, rounds: int = NMS_ROUNDS) -> Tensor:
    """Which boxes greedy non-maximum suppression keeps: (B, K) float32 of 0 and 1.

    boxes (B, K, 4) best first; valid (B, K) float32, 0 for rows that neither survive nor suppress. Greedy suppression
    is the fixpoint of "kept unless a better kept box overlaps"; each round settles one more link of every chain of
    suppressions, and after `rounds` of them longer chains alone could differ (on 1000 boxes the fixpoint was reached
    after 1 to 7).
    """
    overlap = pairwise_iou(boxes)  # (B, K, K)
    order = torch.arange(boxes.shape[1], device=boxes.device)
    better = order[:, None] < order[None, :]
    suppresses = ((overlap > threshold) & better).to(torch.float32) * valid[:, :, None]
    possible = valid[:, None]  # (B, 1, K)
    kept = possible
    for _ in range(rounds):
        # What is possible is 1 and hits are counted in whole numbers, so one hit suffices for 0. Three operators a
        # round, because a network has some hundred rounds, and whoever exports or builds it pays for each.
        kept = functional.relu(possible - torch.matmul(kept, suppresses))
    return kept[:, 0]


def pairwise_iou(boxes: Tensor) -> Tensor:
    """IoU (B, K, K) of boxes (B, K, 4) with each other; 0 where both are empty."""
    x0, y0, x1, y1 = boxes.unbind(dim=2)
    area = (x1 - x0) * (y1 - y0)  # (B, K)
    width = torch.minimum(x1[:, :, None], x1[:, None]) - torch.maximum(x0[:, :, None], x0[:, None])
    height = torch.minimum(y1[:, :, None], y1[:, None]) - torch.maximum(y0[:, :, None], y0[:, None])
    shared = width.clamp(min=0) * height.clamp(min=0)
    union = area[:, :, None] + area[:, None] - shared
    return shared / union.clamp(min=1e-9)


def rows_at(values: Tensor, rows: Tensor) -> Tensor:
    """values (B, K, ...) at rows (B, J) int64: (B, J, ...)."""
    index = rows.reshape(*rows.shape, *([1] * (values.dim() - 2))).expand(-1, -1, *values.shape[2:])
    return torch.gather(values, 1, index)


def level_atlas(pyramid: list[Tensor]) -> Tensor:
    """Four levels (B, F, h, w) ... (B, F, h/8, w/8) side by side in one (B, F, h, w + w/2) picture."""
    first, second, third, fourth = pyramid[:4]
    width = second.shape[3]
    column = torch.cat(
        [
            second,
            functional.pad(third, (0, width - third.shape[3])),
            functional.pad(fourth, (0, width - fourth.shape[3])),
        ],
        dim=2,
    )
    column = functional.pad(column, (0, 0, 0, first.shape[2] - column.shape[2]))
    return torch.cat([first, column], dim=3)


def atlas_roi_align(
    atlas: Tensor,
    level_sizes: list[tuple[int, int]],
    strides: tuple[int, ...],
    boxes: Tensor,
    side: int,
    sampling: int,
    canonical_size: float,
    half_pixel: bool,
) -> Tensor:
    """RoIAlign (B * R, F, side, side) of boxes (B, R, 4) in input pixels: one GridSample over `level_atlas`.

    level_sizes: (height, width) of the four levels. Every RoI samples its own level (`roi_pool.roi_levels`), clamped to
    the level's cells as torchvision does; samples further than a cell outside are zero.
    """
    batch, count = boxes.shape[:2]
    features = atlas.shape[1]
    sizes = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    level = torch.floor(2 + torch.log2((sizes[..., 0] * sizes[..., 1]).sqrt() / canonical_size + 1e-8) + 1e-6)
    level = level.clamp(0, 3).long()  # (B, R)
    (_, w0), (h1, _), (h2, _), _ = level_sizes
    table = torch.tensor(
        [
            [1.0 / stride, float(height), float(width), oy, ox]
            for stride, (height, width), (oy, ox) in zip(
                strides, level_sizes, [(0, 0), (0, w0), (h1, w0), (h1 + h2, w0)], strict=False
            )
        ],
        device=boxes.device,
    )[level]  # (B, R, 5)
    scale, height, width, offset_y, offset_x = table.unbind(dim=2)
    points = side * sampling
    steps = (torch.arange(points, device=boxes.device, dtype=torch.float32) + 0.5) / points
    shift = 0.5 if half_pixel else 0.0
    extent = boxes * scale[..., None]
    span = extent[..., 2:] - extent[..., :2]
    span = span if half_pixel else span.clamp(min=1.0)
    x = extent[..., 0, None] - shift + span[..., 0, None] * steps  # (B, R, P)
    y = extent[..., 1, None] - shift + span[..., 1, None] * steps
    inside_x = ((x >= -1) & (x <= width[..., None])).to(torch.float32)
    inside_y = ((y >= -1) & (y <= height[..., None])).to(torch.float32)
    x = torch.minimum(x.clamp(min=0), width[..., None] - 1) + offset_x[..., None]
    y = torch.minimum(y.clamp(min=0), height[..., None] - 1) + offset_y[..., None]
    grid_x = (x * (2.0 / (atlas.shape[3] - 1)) - 1.0)[:, :, None, :].expand(-1, -1, points, -1)
    grid_y = (y * (2.0 / (atlas.shape[2] - 1)) - 1.0)[:, :, :, None].expand(-1, -1, -1, points)
    grid = torch.stack([grid_x, grid_y], dim=4).reshape(batch, count * points, points, 2)
    sampled = functional.grid_sample(atlas, grid, mode="bilinear", padding_mode="border", align_corners=True)
    sampled = sampled.reshape(batch, features, count, points, points)
    inside = (inside_y[..., :, None] * inside_x[..., None, :])[:, None]  # (B, 1, R, P, P)
    pooled = (sampled * inside).transpose(1, 2).reshape(batch * count, features, points, points)
    return functional.avg_pool2d(pooled, sampling) if sampling > 1 else pooled
