"""Colours as they look: RGB to CIE Lab."""

import torch
from torch import Tensor

# Linear RGB of sRGB's primaries to XYZ over the white point D65 (IEC 61966-2-1).
_TO_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)


def rgb_to_lab(images: Tensor) -> Tensor:
    """Lab (R, 3, H, W) of RGB images (R, 3, H, W) float from 0 to 255: L from 0 to 100, a and b about -100 to 100.

    Computed in float32, or in float64 where the images are.
    """
    images = images if images.dtype == torch.float64 else images.float()
    encoded = images.clamp(0.0, 255.0) / 255.0
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    # Written out: a matrix product would follow autocast into half precision.
    x, y, z = ((linear * linear.new_tensor(row)[:, None, None]).sum(dim=1) for row in _TO_XYZ)
    x, y, z = (_lightness(part) for part in (x, y, z))
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], dim=1)


def _lightness(share: Tensor) -> Tensor:
    """CIE's cube root, a line near black."""
    return torch.where(share > 0.008856, share.clamp(min=0.008856) ** (1.0 / 3.0), 7.787 * share + 16.0 / 116.0)
