"""PerceptionNet: backbone, region proposals, box, mask and tracking branches. MOTSNet as WSMOTS uses it (section 3).

Panoptic models have a semantic branch besides.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection.rpn import RPNHead

from wsperception.errors import InputError
from wsperception.nets import anchors
from wsperception.nets.backbone import Backbone
from wsperception.nets.heads import MASK_SIDE, ROI_SIDE, BoxHead, MaskHead, SemanticHead, TrackingHead
from wsperception.nets.roi_pool import pool_rois
from wsperception.nets.settings import NetSettings

RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Proposals:
    """Raw outputs of the proposal head over all levels of a batch.

    anchors     (A, 4) float32      input pixels
    objectness  (B, A) float32      logits
    deltas      (B, A, 4) float32
    level_sizes                     anchors per level, summing to A
    """

    anchors: Tensor
    objectness: Tensor
    deltas: Tensor
    level_sizes: tuple[int, ...]


class PerceptionNet(nn.Module):
    """The deployable network; training losses, export and eager detection are functions over its parts.

    Class 0 of the box branch is background; class c >= 1 is class c - 1 of the label space.

    class_count  classes of the label space, things before stuff; of the instance the things alone, which the box, mask
                 and tracking branches know. `semantic` is None where the settings name no stuff classes.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: NetSettings, class_count: int) -> None:
        super().__init__()
        things = class_count - settings.stuff_classes
        if things < 1:
            raise InputError(
                f"stuff_classes: expected fewer than the {class_count} classes, got {settings.stuff_classes}"
            )
        self.settings, self.class_count = settings, things
        self.backbone = Backbone(settings)
        self.rpn = RPNHead(settings.fpn_channels, len(settings.anchor_ratios))
        self.box = BoxHead(settings, things)
        self.mask = MaskHead(settings, things)
        self.track = TrackingHead(settings, things)
        self.semantic = SemanticHead(settings) if settings.stuff_classes else None
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGE_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Levels of (B, h, w, 3) RGB images in 0..255, uint8 or float; h and w divisible by 32."""
        normal = (images.permute(0, 3, 1, 2).float() - self.mean) / self.deviation
        levels: list[Tensor] = self.backbone(normal.contiguous(memory_format=torch.channels_last))
        return levels

    def propose(self, pyramid: list[Tensor]) -> Proposals:
        """Objectness and deltas of every anchor."""
        objectness, deltas = self.rpn(pyramid)
        flat_objectness = [level.permute(0, 2, 3, 1).flatten(1) for level in objectness]
        flat_deltas = [_deltas_last(level) for level in deltas]
        corner = not self.settings.roi_half_pixel
        place = anchors.corner_anchors if corner else anchors.level_anchors
        grids = [
            place(level.shape[2], level.shape[3], stride, self.settings.anchor_scale, self.settings.anchor_ratios)
            for level, stride in zip(pyramid, self.backbone.strides, strict=True)
        ]
        return Proposals(
            torch.cat(grids).to(pyramid[0].device),
            torch.cat(flat_objectness, dim=1).float(),
            torch.cat(flat_deltas, dim=1).float(),
            tuple(len(grid) for grid in grids),
        )

    def pool(self, pyramid: list[Tensor], boxes: Tensor, frame_of: Tensor, sampling: int = 1) -> Tensor:
        """RoI features (R, F, 14, 14) of boxes (R, 4) that lie in frames frame_of (R,)."""
        settings = self.settings
        return pool_rois(
            pyramid,
            self.backbone.strides,
            boxes,
            frame_of,
            ROI_SIDE,
            sampling,
            settings.canonical_size,
            settings.roi_half_pixel,
        )

    @property
    def mask_side(self) -> int:
        return MASK_SIDE


def _deltas_last(level: Tensor) -> Tensor:
    """(B, A*4, h, w) to (B, h*w*A, 4)."""
    batch, _, height, width = level.shape
    return level.view(batch, -1, 4, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)
