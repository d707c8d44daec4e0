"""The network of Joint Thing-and-Stuff Mining (JTSM, Shen et al., CVPR 2021, sections 3.1, 3.2 and 3.4)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align

from wsperception.errors import InputError
from wsperception.nets.backbone import Backbone, ResNetBody
from wsperception.nets.heads import ROI_SIDE, MaskHead
from wsperception.nets.moi_pool import COMPENSATIONS, POOLINGS, pool_segments
from wsperception.nets.perception_net import IMAGE_DEVIATION, IMAGE_MEAN
from wsperception.nets.segment_set import SegmentSet
from wsperception.nets.settings import NetSettings
from wsperception.nets.tiny import TinyBackbone
from wsperception.settings import check, setting

PADDED = 32
"""Images are padded to multiples of this, so that every level of every backbone has the size it should have."""


@dataclass(frozen=True)
class JtsmNetSettings:
    """Architecture; defaults are the paper's, and where it is silent the released code's."""

    backbone: str = setting("resnet18", "feature extractor", choices=("tiny", "resnet18"))
    norm: str = setting(
        "frozen", "normalisation: frozen for pretrained weights, group from scratch", choices=("frozen", "group")
    )
    stride: int = setting(16, "pixels per cell of the feature map: 8 or 16", unit="px", low=8, high=16)
    channels: int = setting(128, "channels of the feature map; only of the tiny backbone", low=8, high=1024)
    pooling: str = setting("invariant", "how segments are pooled (Table 1)", choices=POOLINGS)
    compensation: str = setting(
        "cells", "psi of Eq. 7: cells: over the number of cells that are not empty; values: over their sum, as printed",
        choices=COMPENSATIONS,
    )  # fmt: skip
    objectness_factor: bool = setting(False, "pooled features times 1 + the proposal's objectness, as the code has it")
    pooled_side: int = setting(7, "side of the pooled grid", low=1, high=14)
    hidden: int = setting(4096, "width of the two fully connected layers after pooling", low=8, high=8192)
    dropout: float = setting(0.5, "share of their outputs that is dropped", low=0.0, high=0.95)
    refinements: int = setting(4, "refinement heads, n^r (Table 3)", low=0, high=10)
    refine_boxes: bool = setting(False, "refinement heads move boxes too, as in the code")
    instance_branch: bool = setting(True, "masks of things by a branch of their own (Eq. 9, Table 2)")
    semantic_branch: bool = setting(True, "maps of stuff by a branch of their own (Eq. 10, Table 2)")
    branch_channels: int = setting(256, "channels of the convolutions of both branches", low=8, high=1024)

    def __post_init__(self) -> None:
        check(self)
        if self.stride not in (8, 16):
            raise InputError(f"stride: expected 8 or 16, got {self.stride}")


@dataclass(frozen=True, eq=False)
class Mined:
    """What the panoptic mining branch says of P segments.

    class_logits     (P, C)              S^C
    segment_logits   (P, C)              S^D
    refined          n^r of (P, C + 1)   S^r, background first
    deltas           n^r of (P, 4)       moves of boxes; none unless the settings ask for them
    """

    class_logits: Tensor
    segment_logits: Tensor
    refined: list[Tensor]
    deltas: list[Tensor]


class JtsmNet(nn.Module):
    """Backbone, panoptic mining branch, instance and semantic segmentation branch.

    Of C classes the last `stuff_count` are stuff; training losses and prediction are functions over its parts.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: JtsmNetSettings, class_count: int, stuff_count: int) -> None:
        super().__init__()
        assert 0 <= stuff_count <= class_count
        self.settings, self.class_count, self.thing_count = settings, class_count, class_count - stuff_count
        self.backbone = FeatureMap(settings)
        width = self.backbone.channels
        self.fc6 = nn.Linear(width * settings.pooled_side**2, settings.hidden)
        self.fc7 = nn.Linear(settings.hidden, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(settings.hidden, class_count)
        self.detect = nn.Linear(settings.hidden, class_count)
        self.refine = nn.ModuleList(nn.Linear(settings.hidden, class_count + 1) for _ in range(settings.refinements))
        moved = settings.refinements if settings.refine_boxes else 0
        self.move = nn.ModuleList(nn.Linear(settings.hidden, 4) for _ in range(moved))
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        for layer in (self.classify, self.detect, *self.refine, *self.move):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.mask = _instance_branch(settings, width, self.thing_count)
        self.semantic = _semantic_branch(settings, width, stuff_count)
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGE_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Phi^f (B, F, ceil(H / stride), ceil(W / stride)), not negative, of images (B, H, W, 3) RGB in 0..255."""
        height, width = images.shape[1:3]
        normal = (images.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        padded = functional.pad(normal, (0, -width % PADDED, 0, -height % PADDED))
        found: Tensor = self.backbone(padded.contiguous(memory_format=torch.channels_last))
        stride = self.settings.stride
        return found[:, :, : -(-height // stride), : -(-width // stride)]

    def mine(self, features: Tensor, segments: SegmentSet, objectness: Tensor) -> Mined:
        """Scores of the segments of one image; features (F, h, w), objectness (P,) in [0, 1]."""
        settings = self.settings
        factors = objectness + 1.0 if settings.objectness_factor else torch.ones_like(objectness)
        pooled = pool_segments(
            features, segments, settings.stride, settings.pooled_side, settings.pooling, settings.compensation, factors
        )
        hidden = self.dropout(functional.relu(self.fc6(pooled.flatten(1))))
        hidden = self.dropout(functional.relu(self.fc7(hidden)))  # (P, hidden)
        return Mined(
            self.classify(hidden),
            self.detect(hidden),
            [head(hidden) for head in self.refine],
            [head(hidden) for head in self.move],
        )

    def mask_logits(self, features: Tensor, boxes: Tensor) -> Tensor:
        """M^IS: logits (R, T, 28, 28) of T thing classes over boxes (R, 4) of one image; features (F, h, w)."""
        assert self.mask is not None
        rois = torch.cat([boxes.new_zeros((len(boxes), 1)), boxes], dim=1)
        pooled = roi_align(features[None], rois, ROI_SIDE, 1.0 / self.settings.stride, 2, True)
        logits: Tensor = self.mask(pooled)
        return logits

    def semantic_logits(self, features: Tensor) -> Tensor:
        """M^SS: logits (B, 1 + S, h, w) of "a thing" and of S stuff classes."""
        assert self.semantic is not None
        logits: Tensor = self.semantic(features)
        return logits


class FeatureMap(nn.Module):
    """One feature map at the stride of the settings, of normalised images (B, 3, h, w); h and w divisible by 32.

    ResNet-18: the last stages keep the resolution and dilate instead ("dilated res5"; at stride 8 res4 as well). The
    paper's ResNet-WS changes the first layers besides, and has no public weights. Tiny: the levels from that stride
    on, brought to equal channels and summed top-down, as a feature pyramid does.
    """

    def __init__(self, settings: JtsmNetSettings) -> None:
        super().__init__()
        self.body = body = Backbone(NetSettings(backbone=settings.backbone, norm=settings.norm)).body
        self.first = 1 if settings.stride == 8 else 2  # level of that stride
        self.laterals = nn.ModuleList()
        if isinstance(body, ResNetBody):
            self.channels = body.channels[-1]
            stages = (body.layer3, body.layer4)[self.first - 1 :]
            for dilation, stage in zip((2, 4), stages, strict=False):
                _dilate(stage, dilation)
            return
        assert isinstance(body, TinyBackbone)
        self.channels = settings.channels
        self.laterals.extend(nn.Conv2d(width, self.channels, 1) for width in body.channels[self.first :])
        self.out = nn.Conv2d(self.channels, self.channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        levels: list[Tensor] = self.body(images)[self.first :]
        if not self.laterals:
            return levels[-1]
        hidden = self.laterals[-1](levels[-1])
        for lateral, level in zip(self.laterals[-2::-1], levels[-2::-1], strict=True):
            hidden = lateral(level) + functional.interpolate(hidden, level.shape[-2:])
        return functional.relu(self.out(hidden))


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Makes a stage of a ResNet keep the resolution; every `dilation`-th cell is what it was with its stride of 2.

    What stood behind the stride skips `dilation` cells; the filter that had the stride skips what came in, half of it.
    """
    for name, module in stage.named_modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                spread = dilation // 2 if name == "0.conv1" else dilation
                module.dilation = module.padding = (spread, spread)


def _instance_branch(settings: JtsmNetSettings, width: int, thing_count: int) -> nn.Module | None:
    """Four 3x3 convolutions, a 2x2 deconvolution and a 1x1 prediction."""
    if not settings.instance_branch or thing_count == 0:
        return None
    return MaskHead(NetSettings(fpn_channels=width, mask_channels=settings.branch_channels), thing_count)


def _semantic_branch(settings: JtsmNetSettings, width: int, stuff_count: int) -> nn.Module | None:
    """Two 3x3 convolutions and a 1x1 prediction."""
    if not settings.semantic_branch or stuff_count == 0:
        return None
    channels = settings.branch_channels
    return nn.Sequential(
        nn.Conv2d(width, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, stuff_count + 1, 1),
    )
