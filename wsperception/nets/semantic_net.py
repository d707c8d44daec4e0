"""The two networks of LAT (Li, Arnab, Torr, ECCV 2018) that look at whole images: for classes of pixels, and for tags.

Both take the shared backbone's pyramid level of stride 8, the output stride of the paper's PSPNet (appendix B.1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsperception.nets.backbone import Backbone
from wsperception.nets.perception_net import IMAGE_DEVIATION, IMAGE_MEAN
from wsperception.nets.settings import BACKBONES, NetSettings
from wsperception.settings import check, setting

LEVEL, STRIDE = 1, 8
"""Of the pyramid."""
COARSEST = 32
"""Stride that the backbone's input must be divisible by."""


@dataclass(frozen=True)
class SemanticSettings:
    """Architecture of SemanticNet and TagNet."""

    backbone: str = setting("resnet50", "feature extractor", choices=BACKBONES)
    norm: str = setting(
        "frozen", "normalisation: frozen for pretrained weights, group from scratch", choices=("frozen", "group")
    )
    channels: int = setting(256, "channels of every pyramid level", low=8, high=1024)
    bins: tuple[int, ...] = setting(
        (1, 2, 3, 6), "cells per side of the pooled pictures of the context", low=1, high=32
    )

    def __post_init__(self) -> None:
        check(self)


class _Features(nn.Module):
    """Features (B, F, h/8, w/8), rounded up, of (B, h, w, 3) RGB images in 0..255."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: SemanticSettings) -> None:
        super().__init__()
        self.backbone = Backbone(
            NetSettings(backbone=settings.backbone, norm=settings.norm, fpn_channels=settings.channels)
        )
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGE_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        levels: list[Tensor] = self.backbone(self.prepared(images))
        return _cut(levels[LEVEL], images)

    def prepared(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) as the backbone takes them."""
        normal = (images.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        height, width = images.shape[1:3]
        padded = functional.pad(normal, (0, -width % COARSEST, 0, -height % COARSEST))
        return padded.contiguous(memory_format=torch.channels_last)


def _cut(features: Tensor, images: Tensor) -> Tensor:
    """Features (B, F, h/8, w/8) without what lies behind the images (B, h, w, 3) only because these were padded."""
    return features[:, :, : -(-images.shape[1] // STRIDE), : -(-images.shape[2] // STRIDE)]


class PyramidContext(nn.Module):
    """What lies around, at several scales, beside each cell: (B, F, h, w) to the same shape.

    PSPNet's pyramid pooling (Zhao et al., CVPR 2017, section 3.2): averages over a few cells, each through a 1x1
    convolution, enlarged and put beside the input, then a 3x3 convolution.
    """

    def __init__(self, channels: int, bins: tuple[int, ...]) -> None:
        super().__init__()
        width = max(channels // len(bins), 1)
        self.bins = bins
        self.reduce = nn.ModuleList([nn.Conv2d(channels, width, 1) for _ in bins])
        self.join = nn.Conv2d(channels + width * len(bins), channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[2:]
        parts = [features]
        for side, reduce in zip(self.bins, self.reduce, strict=True):
            pooled = functional.relu(reduce(functional.adaptive_avg_pool2d(features, side)))
            parts.append(functional.interpolate(pooled, size=size, mode="bilinear", align_corners=False))
        return functional.relu(self.join(torch.cat(parts, dim=1)))


class SemanticNet(nn.Module):
    """A class for every pixel of an image."""

    def __init__(self, settings: SemanticSettings, class_count: int) -> None:
        super().__init__()
        self.settings, self.class_count = settings, class_count
        self.features = _Features(settings)
        self.context = PyramidContext(settings.channels, settings.bins)
        self.classify = nn.Conv2d(settings.channels, class_count, 1)

    @property
    def backbone(self) -> Backbone:
        return self.features.backbone

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C, h, w) of (B, h, w, 3) RGB images in 0..255, brought from stride 8 to pixels bilinearly."""
        logits = self.classify(self.context(self.features(images)))
        return enlarged(logits, (images.shape[1], images.shape[2]))


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, F, h/8, w/8), rounded up, at the pixels of `size` (h, w), bilinearly."""
    whole = functional.interpolate(maps, scale_factor=STRIDE, mode="bilinear", align_corners=False)
    return whole[:, :, : size[0], : size[1]]


class TagNet(nn.Module):
    """Which classes an image shows (appendix B.2): the features' mean over the image, then one linear layer.

    Two things on which the paper is silent, both for the sake of where heat lies. The features are the backbone's own
    of strides 8 and 16: a cell of a coarser one sees most of a crop, and knows its classes without lying in them. And
    they are normalised cell by cell: plain surfaces as sky and road then weigh as much in the mean as textured ones,
    where else heat would gather at their outlines.
    """

    def __init__(self, settings: SemanticSettings, class_count: int) -> None:
        super().__init__()
        self.settings, self.class_count = settings, class_count
        self.features = _Features(settings)
        del self.features.backbone.fpn
        channels: tuple[int, ...] = self.features.backbone.body.channels  # type: ignore[assignment]
        self.last = nn.Conv2d(channels[LEVEL] + channels[LEVEL + 1], settings.channels, 3, padding=1)
        self.classify = nn.Linear(settings.channels, class_count)

    @property
    def backbone(self) -> Backbone:
        return self.features.backbone

    def activations(self, images: Tensor) -> Tensor:
        """(B, F, h/8, w/8), at least 0, of (B, h, w, 3) RGB images in 0..255: what Grad-CAM looks at."""
        levels = self.features.backbone.body(self.features.prepared(images))
        fine, coarse = (_normal_cells(level) for level in levels[LEVEL : LEVEL + 2])
        coarse = functional.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
        return _cut(functional.relu(_normal_cells(self.last(torch.cat([fine, coarse], dim=1)))), images)

    def scores(self, activations: Tensor) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.classify(activations.mean(dim=(2, 3)))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of (B, h, w, 3) RGB images in 0..255."""
        return self.scores(self.activations(images))


def _normal_cells(features: Tensor) -> Tensor:
    """(B, F, h, w) with mean 0 and variance 1 over the features of each cell."""
    return functional.layer_norm(features.permute(0, 2, 3, 1), features.shape[1:2]).permute(0, 3, 1, 2)
