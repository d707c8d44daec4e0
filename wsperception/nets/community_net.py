"""The network of Community Learning (Hwang et al., WACV 2021): features, detector, class maps and segmentation.

Each part is a method of its own, about one image; what the parts teach each other is in
`wsperception.learn.methods.community`. Column 0 of C + 1 is background, column c + 1 class c.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align, roi_pool

from wsperception.errors import InputError
from wsperception.nets.backbone import STRIDES, Backbone, ResNetBody
from wsperception.nets.perception_net import IMAGE_DEVIATION, IMAGE_MEAN
from wsperception.nets.settings import NetSettings
from wsperception.nets.tiny import RELU_GAIN, ResidualBlock, TinyBackbone
from wsperception.settings import check, setting


@dataclass(frozen=True)
class CommunityNetSettings:
    """Architecture; defaults are the paper's, and where it is silent a choice that its `help` names."""

    backbone: str = setting("resnet50", "feature extractor", choices=("tiny", "resnet18", "resnet50"))
    norm: str = setting(
        "group", "normalisation: group as in section A.1; frozen takes ImageNet weights", choices=("group", "frozen")
    )
    pooling: str = setting("max", "of RoIs: max as in the paper, or align (bilinear)", choices=("max", "align"))
    pool_side: int = setting(7, "side of the RoI that goes through res5", unit="cells", low=2, high=14)
    heads: int = setting(3, "K, refinement heads of the detector", low=1, high=8)
    regressor: str = setting(
        "agnostic", "box regressor: one for all classes, or one per class (Table 6)",
        choices=("agnostic", "specific", "none"),
    )  # fmt: skip
    regressor_features: int = setting(1024, "width of its first layer; the paper is silent", low=8, high=4096)
    regressor_grid: bool = setting(
        False,
        "it sees every cell of res5, so where in the box an object ends, not their mean; the paper is silent",
    )
    cams: int = setting(3, "class maps, from res5 downwards (Table 7); 0: no mask generation", low=0, high=4)
    cam_channels: int = setting(256, "width of the convolution of a class map; the paper is silent", low=8, high=1024)
    background: bool = setting(True, "a class map of the background (BG of Table 4)")
    centred: bool = setting(True, "average pooling of class maps weighs the centre more (wGAP of Table 4)")
    centre_deviation: float = setting(
        0.25, "sigma of these weights over the side of the map; the paper is silent", low=0.01, high=100.0
    )
    smoothing: bool = setting(True, "log(1 + f) of the features of class maps (FS of Table 4)")
    mask_side: int = setting(28, "T, side of class maps and masks", unit="cells", low=4, high=112)
    segmentation: bool = setting(True, "the instance segmentation module (IS of Table 3)")
    mask_channels: int = setting(256, "width of its convolutions; the paper is silent", low=8, high=1024)
    mask_layers: int = setting(4, "its convolutions", low=1, high=8)

    def __post_init__(self) -> None:
        check(self)
        if self.segmentation and self.cams == 0:
            raise InputError("segmentation: expected false where cams is 0, as it learns from class maps, got true")


@dataclass(frozen=True, eq=False)
class DetectorOutputs:
    """Logits of R proposals.

    classes    (R, C)       stream over classes       (Eq. 11)
    proposals  (R, C)       stream over proposals     (Eq. 12)
    heads      (R, C + 1)   of each refinement head
    deltas     (R, K, 4)    K = 1 (agnostic), C (specific) or 0 (no regressor)
    """

    classes: Tensor
    proposals: Tensor
    heads: list[Tensor]
    deltas: Tensor


class CommunityNet(nn.Module):
    """Detector, class maps and segmentation over one feature extractor (Fig. 2)."""

    mean: Tensor
    deviation: Tensor
    centre: Tensor

    def __init__(self, settings: CommunityNetSettings, class_count: int) -> None:
        super().__init__()
        self.settings, self.class_count = settings, class_count
        self.backbone = CommunityBackbone(settings)
        channels = self.backbone.channels
        self.classes = _linear(channels[3], class_count)
        self.proposals = _linear(channels[3], class_count)
        self.heads = nn.ModuleList(_linear(channels[3], class_count + 1) for _ in range(settings.heads))
        self.boxes = {"agnostic": 1, "specific": class_count, "none": 0}[settings.regressor]
        self.regressor = _regressor(channels[3], settings, self.boxes)
        self.cams = nn.ModuleList(ClassMaps(width, settings, class_count) for width in channels[4 - settings.cams :])
        self.segmentation = _segmentation(channels[3], settings, class_count)
        deviation = settings.centre_deviation * settings.mask_side if settings.centred else math.inf
        self.register_buffer("centre", centre_weights(settings.mask_side, deviation), persistent=False)
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGE_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def levels(self, image: Tensor) -> list[Tensor]:
        """res2, res3, res4 (1, F, h / stride, w / stride) of an RGB image (h, w, 3) in 0..255, uint8 or float.

        Sides that are not multiples of 16 are filled up with the mean colour at the right and the bottom.
        """
        normal = (image.permute(2, 0, 1)[None].float() - self.mean) / self.deviation
        normal = functional.pad(normal, (0, -normal.shape[3] % STRIDES[2], 0, -normal.shape[2] % STRIDES[2]))
        levels: list[Tensor] = self.backbone(normal)
        return levels

    def proposal_features(self, levels: list[Tensor], boxes: Tensor) -> Tensor:
        """res5 (R, F, 7, 7) of boxes (R, 4) in image pixels: RoIs of res4 through the last block."""
        return self.backbone.last(self._pooled(levels[2], boxes, STRIDES[2], self.settings.pool_side))

    def detect(self, features: Tensor) -> DetectorOutputs:
        """What the detector says of res5 features (R, F, 7, 7)."""
        pooled = features.mean(dim=(2, 3))  # (R, F)
        seen = features.flatten(1) if self.settings.regressor_grid else pooled
        deltas = pooled.new_zeros(len(pooled), 0) if self.regressor is None else self.regressor(seen)
        heads = [head(pooled).float() for head in self.heads]
        return DetectorOutputs(
            self.classes(pooled).float(),
            self.proposals(pooled).float(),
            heads,
            deltas.float().unflatten(1, (self.boxes, 4)),
        )

    def class_maps(self, levels: list[Tensor], boxes: Tensor, features: Tensor) -> list[Tensor]:
        """Class activation maps (R, C + 1, T, T) of boxes (R, 4), from the lowest level to res5.

        features  (R, F, 7, 7)  res5 of the boxes

        Res2 to res4 are pooled to T x T, res5 is brought there bilinearly (section A.1).
        """
        side = self.settings.mask_side
        inputs = [self._pooled(levels[at], boxes, STRIDES[at], side) for at in range(4 - len(self.cams), 3)]
        inputs.append(_enlarged(features, side))
        return [cam(part).float() for cam, part in zip(self.cams, inputs, strict=True)]

    def map_logits(self, maps: Tensor) -> Tensor:
        """Class logits (R, C + 1) of class maps (R, C + 1, T, T): their average, the centre weighing more."""
        return (maps * self.centre).sum(dim=(2, 3))

    def masks(self, features: Tensor) -> Tensor:
        """Mask logits (R, C + 1, T, T) of res5 features (R, F, 7, 7), by the segmentation module."""
        assert self.segmentation is not None
        logits: Tensor = self.segmentation(_enlarged(features, self.settings.mask_side))
        return logits.float()

    def _pooled(self, level: Tensor, boxes: Tensor, stride: int, side: int) -> Tensor:
        """RoIs (R, F, side, side) of a level; float32 whatever the autocast, as RoI pooling needs it."""
        rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1).float()
        with torch.autocast(boxes.device.type, enabled=False):
            if self.settings.pooling == "max":
                pooled: Tensor = roi_pool(level.float(), rois, (side, side), 1.0 / stride)
            else:
                pooled = roi_align(level.float(), rois, (side, side), 1.0 / stride, 2, True)
        return pooled


class CommunityBackbone(nn.Module):
    """A classification network cut before its last stage, which runs on RoIs (section A.1).

    The last stage keeps its resolution: 7 x 7 cells stay 7 x 7, not 4 x 4, since masks are made of them.
    """

    def __init__(self, settings: CommunityNetSettings) -> None:
        super().__init__()
        body = Backbone(NetSettings(backbone=settings.backbone, norm=settings.norm)).body
        assert isinstance(body, ResNetBody | TinyBackbone)
        self.body = body
        self.channels: tuple[int, ...] = body.channels
        if isinstance(body, TinyBackbone):
            # Its own block has a shortcut of 2 x 2 cells; the deviation is that after two blocks of the third stage.
            body.stages[3] = ResidualBlock(self.channels[2], self.channels[3], 1, 1.08**0.5)
            return
        for module in body.layer4.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """res2, res3 and res4 of normalised images (B, 3, h, w); none is negative."""
        body, levels = self.body, []
        if isinstance(body, TinyBackbone):
            hidden = body.stem_down(functional.relu(body.stem(images)) * RELU_GAIN)
            stages = list(body.stages[:3])
        else:
            hidden = body.maxpool(functional.relu(body.bn1(body.conv1(images))))
            stages = [body.layer1, body.layer2, body.layer3]
        for stage in stages:
            hidden = stage(hidden)
            levels.append(functional.relu(hidden))  # changes nothing in a ResNet
        return levels

    def last(self, rois: Tensor) -> Tensor:
        """res5 (R, F, s, s) of RoIs (R, F', s, s) of res4; not negative."""
        stage = self.body.stages[3] if isinstance(self.body, TinyBackbone) else self.body.layer4
        return functional.relu(stage(rois))


class ClassMaps(nn.Module):
    """One class activation map per class (Eq. 15) from the features of one level (section 3.2.2)."""

    def __init__(self, channels: int, settings: CommunityNetSettings, class_count: int) -> None:
        super().__init__()
        self.smoothing = settings.smoothing
        self.conv = nn.Conv2d(channels, settings.cam_channels, 3, padding=1)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)
        # Without a bias, so that the pooled map is the class's logit and nothing else.
        self.weights = nn.Conv2d(settings.cam_channels, class_count + 1, 1, bias=False)
        nn.init.normal_(self.weights.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """(R, C + 1, T, T) of features (R, F, T, T), none below 0."""
        hidden = torch.log1p(features) if self.smoothing else features
        maps: Tensor = self.weights(functional.relu(self.conv(hidden)))
        return maps


def centre_weights(side: int, deviation: float) -> Tensor:
    """Weights (side, side) float32 of an isotropic Gaussian about the middle of a map; they sum to 1.

    deviation  in cells; infinite: all weigh the same
    """
    offsets = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    line = torch.exp(-0.5 * (offsets / deviation).square())
    weights = line[:, None] * line[None]
    return weights / weights.sum()


def _enlarged(features: Tensor, side: int) -> Tensor:
    return functional.interpolate(features, (side, side), mode="bilinear", align_corners=False)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer as section 4.1 starts them: N(0, 0.01^2)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


def _regressor(channels: int, settings: CommunityNetSettings, boxes: int) -> nn.Module | None:
    if boxes == 0:
        return None
    width = settings.regressor_features
    cells = settings.pool_side**2 if settings.regressor_grid else 1
    return nn.Sequential(_linear(channels * cells, width), nn.ReLU(), _linear(width, 4 * boxes))


def _segmentation(channels: int, settings: CommunityNetSettings, class_count: int) -> nn.Module | None:
    if not settings.segmentation:
        return None
    layers: list[nn.Module] = []
    for _ in range(settings.mask_layers):
        conv = nn.Conv2d(channels, settings.mask_channels, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
        channels = settings.mask_channels
    last = nn.Conv2d(channels, class_count + 1, 1)
    nn.init.normal_(last.weight, std=0.01)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
