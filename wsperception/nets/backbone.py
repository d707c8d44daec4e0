"""Backbone and feature pyramid: (B, 3, h, w) normalised images to levels of equal channels."""

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v2, mobilenet_v3_large, resnet18, resnet50
from torchvision.models.resnet import ResNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.misc import FrozenBatchNorm2d

from wsperception.nets.settings import NetSettings
from wsperception.nets.tiny import TinyBackbone

STRIDES = (4, 8, 16, 32)


class ResNetBody(nn.Module):
    """Features at strides 4, 8, 16, 32 of a torchvision ResNet; parameter names are torchvision's."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.maxpool = network.conv1, network.bn1, network.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            network.layer1,
            network.layer2,
            network.layer3,
            network.layer4,
        )
        width = network.fc.in_features
        self.channels = (width // 8, width // 4, width // 2, width)

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = self.maxpool(functional.relu(self.bn1(self.conv1(images))))
        levels = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = layer(hidden)
            levels.append(hidden)
        return levels


class MobileNetBody(nn.Module):
    """Features at strides 4, 8, 16, 32 of a torchvision MobileNet; parameter names are torchvision's.

    features  its layers
    cuts      exclusive end of each stride's run of layers
    channels  of the four levels
    """

    def __init__(self, features: nn.Module, cuts: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.cuts, self.channels = features, cuts, channels

    def forward(self, images: Tensor) -> list[Tensor]:
        levels, hidden = [], images
        for index, layer in enumerate(self.features.children(), start=1):
            hidden = layer(hidden)
            if index in self.cuts:
                levels.append(hidden)
        return levels


class Backbone(nn.Module):
    """Pyramid levels at strides 4, 8, 16, 32 (and 64 where the settings ask for the pooled level).

    The pyramid sums nearest-upsampled levels top-down (Lin et al., arXiv:1612.03144) and is torchvision's.
    """

    def __init__(self, settings: NetSettings) -> None:
        super().__init__()
        self.body = _body(settings)
        self.fpn = FeaturePyramidNetwork(list(self.body.channels), settings.fpn_channels)  # type: ignore[arg-type]
        self.pool_level = settings.pool_level

    def forward(self, images: Tensor) -> list[Tensor]:
        levels = self.fpn({str(index): level for index, level in enumerate(self.body(images))})
        pyramid: list[Tensor] = list(levels.values())
        if self.pool_level:
            pyramid.append(functional.max_pool2d(pyramid[-1], 1, 2, 0))
        return pyramid

    @property
    def strides(self) -> tuple[int, ...]:
        return (*STRIDES, 64) if self.pool_level else STRIDES


def _body(settings: NetSettings) -> nn.Module:
    if settings.backbone == "tiny":
        return TinyBackbone()
    norm = FrozenBatchNorm2d if settings.norm == "frozen" else _group_norm
    if settings.backbone == "mobilenet_v2":
        features = mobilenet_v2(weights=None, norm_layer=norm).features
        return MobileNetBody(features, (4, 7, 14, 19), (24, 32, 96, 1280))
    if settings.backbone == "mobilenet_v3_large":
        features = mobilenet_v3_large(weights=None, norm_layer=norm).features
        return MobileNetBody(features, (4, 7, 13, 17), (24, 40, 112, 960))
    network = {"resnet18": resnet18, "resnet50": resnet50}[settings.backbone]
    return ResNetBody(network(weights=None, norm_layer=norm))


def _group_norm(channels: int) -> nn.Module:
    groups = next(count for count in (32, 16, 8, 4, 2, 1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)
