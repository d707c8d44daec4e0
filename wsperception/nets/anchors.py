"""Anchors of every pyramid level and the box arithmetic between anchors, deltas and boxes."""

import math

import torch
from torch import Tensor

DELTA_LIMIT = math.log(1000.0 / 16)  # larger log scales would overflow; the value is torchvision's


def level_anchors(height: int, width: int, stride: int, scale: float, ratios: tuple[float, ...]) -> Tensor:
    """Anchors (height * width * A, 4) float32 of a level of height x width cells, in input pixels.

    One per ratio (height over width) of side `scale * stride`, about every cell's centre; cells in row-major order,
    ratios innermost, as RPN heads lay out their channels.
    """
    return _placed(_shapes(scale * stride, ratios), height, width, stride, 0.5)


def corner_anchors(height: int, width: int, stride: int, scale: float, ratios: tuple[float, ...]) -> Tensor:
    """Anchors about every cell's corner with sides rounded to even pixels: what torchvision's COCO weights expect."""
    return _placed(_shapes(scale * stride, ratios).round(), height, width, stride, 0.0)


def _shapes(side: float, ratios: tuple[float, ...]) -> Tensor:
    """Anchors (A, 4) about the origin."""
    ratio = torch.tensor(ratios, dtype=torch.float32).sqrt()
    half_h, half_w = side * ratio / 2, side / ratio / 2  # (A,)
    return torch.stack([-half_w, -half_h, half_w, half_h], dim=1)


def _placed(shapes: Tensor, height: int, width: int, stride: int, offset: float) -> Tensor:
    y = (torch.arange(height, dtype=torch.float32) + offset) * stride
    x = (torch.arange(width, dtype=torch.float32) + offset) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=2).reshape(-1, 1, 4)
    return (centres + shapes).reshape(-1, 4)


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Deltas (..., 4) that turn references into boxes: weighted offsets and log scales (Fast R-CNN)."""
    size, reference_size = boxes[..., 2:] - boxes[..., :2], references[..., 2:] - references[..., :2]
    centre, reference_centre = boxes[..., :2] + size / 2, references[..., :2] + reference_size / 2
    scale = boxes.new_tensor(weights)
    shift = (centre - reference_centre) / reference_size
    return torch.cat([shift, torch.log(size / reference_size)], dim=-1) * scale


def decode(deltas: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes (..., 4) float32: the inverse of `encode`."""
    deltas = deltas.float() / torch.tensor(weights, device=deltas.device)
    size = references[..., 2:] - references[..., :2]
    centre = references[..., :2] + size / 2 + deltas[..., :2] * size
    half = size * torch.exp(deltas[..., 2:].clamp(max=DELTA_LIMIT)) / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut to an image of (height, width)."""
    x = boxes[..., 0::2].clamp(0, size[1])
    y = boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)
