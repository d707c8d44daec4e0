"""RoI features from the pyramid level that fits each RoI's size (eager; `static_ops` has the exportable twin)."""

import torch
from torch import Tensor
from torchvision.ops import roi_align


def roi_levels(boxes: Tensor, canonical_size: float, level_count: int) -> Tensor:
    """Index (R,) int64 of the level each box (R, 4) is pooled from: 2 (stride 16) at the canonical size.

    Feature Pyramid Networks, arXiv:1612.03144, Eq. 1; the small constant is torchvision's.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).float()
    size = (sides[:, 0] * sides[:, 1]).sqrt()
    levels = torch.floor(2 + torch.log2(size / canonical_size + 1e-8) + 1e-6)
    return levels.clamp(0, level_count - 1).long()


def pool_rois(
    pyramid: list[Tensor],
    strides: tuple[int, ...],
    boxes: Tensor,
    frame_of: Tensor,
    side: int,
    sampling: int,
    canonical_size: float,
    half_pixel: bool,
) -> Tensor:
    """RoIAlign features (R, F, side, side) of boxes (R, 4) in input pixels; frame_of (R,) is their row in the batch.

    Only the first four levels serve RoIs. R = 0 gives (0, F, side, side), attached to the graph.
    """
    levels = roi_levels(boxes, canonical_size, 4)
    rois = torch.cat([frame_of[:, None].to(boxes.dtype), boxes], dim=1).float()  # (R, 5)
    pooled = pyramid[0].new_zeros((len(boxes), pyramid[0].shape[1], side, side), dtype=torch.float32)
    with torch.autocast(boxes.device.type, enabled=False):
        for index in range(4):
            rows = torch.nonzero(levels == index).flatten()
            features = roi_align(
                pyramid[index].float(), rois[rows], (side, side), 1.0 / strides[index], sampling, half_pixel
            )
            pooled = pooled.index_put((rows,), features)
    return pooled
