"""The network of WISE (Laradji et al., section 3): one body and two FCN8 paths, for places and for embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsperception.nets.backbone import Backbone
from wsperception.nets.perception_net import IMAGE_DEVIATION, IMAGE_MEAN
from wsperception.nets.settings import BACKBONES, NetSettings
from wsperception.settings import check, setting


@dataclass(frozen=True)
class WiseNetSettings:
    """Architecture of WiseNet; defaults: WISE section 4.2."""

    backbone: str = setting("resnet50", "feature extractor", choices=BACKBONES)
    norm: str = setting(
        "frozen", "normalisation: frozen for pretrained weights, group from scratch", choices=("frozen", "group")
    )
    levels: int = setting(
        3, "levels of the body that a path adds up, from the coarsest: 3 is FCN8, 4 takes stride 4 too", low=1, high=4
    )
    embedding_length: int = setting(64, "d of Eq. 2", low=2, high=1024)
    objects_at_start: float = setting(
        0.01, "probability of every class at the start; an even start would be one blob", low=1e-6, high=0.5
    )

    def __post_init__(self) -> None:
        check(self)


class Fcn(nn.Module):
    """FCN8's path (Long et al., CVPR 2015): a 1x1 convolution per level; the coarser sum is doubled and added.

    FCN learns the doubling from a bilinear start; here it stays bilinear.
    """

    def __init__(self, channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList([nn.Conv2d(count, outputs, 1) for count in channels])

    def forward(self, levels: list[Tensor]) -> Tensor:
        """(B, outputs, h, w) at the stride of the finest of `levels`, which come finest first."""
        scored = [score(level) for score, level in zip(self.scores, levels, strict=True)]
        total: Tensor = scored[-1]
        for finer in reversed(scored[:-1]):
            total = finer + upsampled(total, (finer.shape[2], finer.shape[3]))
        return total


class WiseNet(nn.Module):
    """L-Net and E-Net on one body. Channel 0 of the logits is background, channel c + 1 class c of the label space."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: WiseNetSettings, class_count: int) -> None:
        super().__init__()
        self.settings, self.class_count = settings, class_count
        self.backbone = Backbone(NetSettings(backbone=settings.backbone, norm=settings.norm))
        del self.backbone.fpn  # FCN8 has an own way from coarse to fine
        channels = tuple(self.backbone.body.channels)[-settings.levels :]  # type: ignore[arg-type]
        self.location = Fcn(channels, class_count + 1)
        self.embedding = Fcn(channels, settings.embedding_length)
        self._start_as_background()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGE_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C + 1, h', w') and embeddings (B, D, h', w') of (B, h, w, 3) RGB images in 0..255.

        h', w' are h, w over the stride of the finest level that is used; `upsampled` brings them to pixels.
        """
        normal = (images.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        levels = self.backbone.body(normal.contiguous(memory_format=torch.channels_last))[-self.settings.levels :]
        return self.location(levels), self.embedding(levels)

    def _start_as_background(self) -> None:
        probability = self.settings.objects_at_start
        background = max(1.0 - self.class_count * probability, probability)
        for score in self.location.scores:
            assert isinstance(score, nn.Conv2d) and score.bias is not None
            nn.init.zeros_(score.bias)
            nn.init.normal_(score.weight, std=0.01)
        bias = self.location.scores[-1].bias
        assert isinstance(bias, Tensor)
        with torch.no_grad():
            bias[0] = float(torch.tensor(background / probability).log())


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, F, h', w') at another `size` (h, w), bilinearly."""
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def sampled(maps: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, F): what `upsampled` would give one map (F, h', w') at pixels (N, 2) row, column of `size` (h, w)."""
    # grid_sample counts x first, and -1 and 1 are the outer borders of the map.
    places = (pixels.flip(1).to(maps.dtype) + 0.5) / torch.tensor([size[1], size[0]], device=maps.device) * 2 - 1
    found = functional.grid_sample(
        maps[None], places[None, None].to(maps.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T
