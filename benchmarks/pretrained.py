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


def imagenet_file(weights: dict[str, Tensor] | None, out: Path) -> Path | None:
    """Writes `weights`, which are for images (p - 128) / 128, for images as this package normalises them.

    Returns the file below `out`; None without weights, which is said.
    """
    if weights is None:
        print("no weights of ImageNet: every network starts from scratch, as the paper's do not")
        return None
    same, path = torch.full((3,), 128.0), out / "imagenet.pth"
    save_tensors(path, for_our_inputs(weights, same, same))
    return path
