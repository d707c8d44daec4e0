"""MobileNetV2's ImageNet weights for the benchmarks that start from them, where they are at hand."""

from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import save_tensors
from wsperception.nets.weights import for_our_inputs

ROOT = Path(__file__).resolve().parents[1]
_FILE = ROOT.parent / "shared/data/imagenet_mobilenetv2/mobilenet_v2_from_tflite_quant.pth"
PRETRAINED = _FILE if _FILE.exists() else None
"""Weights for images (p - 128) / 128, with torchvision's names; None: they are not here."""


def write_for_our_inputs(weights: dict[str, Tensor], path: Path) -> Path:
    """Writes `weights`, which are for images (p - 128) / 128, for images as this package normalises them.

    Returns `path`.
    """
    same = torch.full((3,), 128.0)
    save_tensors(path, for_our_inputs(weights, same, same))
    return path
