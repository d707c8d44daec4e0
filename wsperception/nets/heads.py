"""The branches: over pooled RoI features box with its two Grad-CAM convolutions, mask, and tracking with mask pooling;
over the whole pyramid the semantic one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsperception.nets.settings import NetSettings
from wsperception.nets.tiny import RELU_GAIN, StandardisedConv

ROI_SIDE = 14
MASK_SIDE = 28


class BoxHead(nn.Module):
    """Classes and boxes of RoIs (WSMOTS section 3).

    `activations` is the output of the second extra 1x1 convolution, where Grad-CAM is taken; `scores` goes from there
    to class logits and deltas, so that a caller can differentiate in between. No layer mixes RoIs.
    """

    def __init__(self, settings: NetSettings, class_count: int) -> None:
        super().__init__()
        channels, width = settings.fpn_channels, settings.box_features
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu" if settings.box_conv_relu else "linear")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        self.relu = settings.box_conv_relu
        self.fc6 = nn.Linear(channels * (ROI_SIDE // 2) ** 2, width)
        self.fc7 = nn.Linear(width, width)
        self.other_classes = settings.other_classes
        self.cls_score = nn.Linear(width, class_count + 1 + settings.other_classes)  # 0 is background, others come last
        self.bbox_pred = nn.Linear(width, 4 * (class_count + 1))
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def activations(self, features: Tensor) -> Tensor:
        """(R, F, 14, 14) RoI features to the (R, F, 14, 14) map that Grad-CAM weights."""
        hidden = self.conv1(features)
        hidden = self.conv2(functional.relu(hidden) if self.relu else hidden)
        return functional.relu(hidden) if self.relu else hidden

    def scores(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R, C + 1), background first, and box deltas (R, C + 1, 4)."""
        hidden = functional.avg_pool2d(activations, 2).flatten(1)  # (R, F * 49)
        hidden = functional.relu(self.fc7(functional.relu(self.fc6(hidden))))
        logits = self.cls_score(hidden)
        if self.other_classes:
            # Folded into background so that the softmax over what is left gives the same probabilities.
            kept = logits.shape[1] - self.other_classes
            background = torch.cat([logits[:, :1], logits[:, kept:]], dim=1).logsumexp(dim=1, keepdim=True)
            logits = torch.cat([background, logits[:, 1:kept]], dim=1)
        return logits, self.bbox_pred(hidden).unflatten(1, (-1, 4))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores(self.activations(features))


class MaskHead(nn.Module):
    """Mask logits (R, C, 28, 28) of (R, F, 14, 14) RoI features."""

    def __init__(self, settings: NetSettings, class_count: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = settings.fpn_channels
        for _ in range(settings.mask_layers):
            layers += [nn.Conv2d(channels, settings.mask_channels, 3, padding=1), nn.ReLU()]
            channels = settings.mask_channels
        self.convs = nn.Sequential(*layers)
        self.up = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.logits = nn.Conv2d(channels, class_count, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.logits(functional.relu(self.up(self.convs(features))))
        return logits


class TrackingHead(nn.Module):
    """Class-specific, unit-length embeddings of the foreground of RoIs (WSMOTS section 3).

    Where nothing was trained for tracking, the mask-pooled features themselves serve, the same for every class.
    """

    def __init__(self, settings: NetSettings, class_count: int) -> None:
        super().__init__()
        self.class_count, self.length = class_count, settings.embedding_length
        self.learned = settings.track_head == "learned"
        if self.learned:
            self.hidden = nn.Linear(settings.fpn_channels, settings.track_features)
            self.embed = nn.Linear(settings.track_features, class_count * settings.embedding_length)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """(R, C, D) embeddings of features (R, F, 14, 14) under soft masks (R, 28, 28) in [0, 1]."""
        pooled = pooled_by_mask(features, masks)
        if self.learned:
            hidden = functional.relu(self.hidden(pooled))
            embeddings = self.embed(hidden).float().unflatten(1, (self.class_count, self.length))
        else:
            embeddings = pooled.float()[:, None].expand(-1, self.class_count, -1)
        return functional.normalize(embeddings, dim=2)


class SemanticHead(nn.Module):
    """Logits (B, 1 + S, h/4, w/4) of "a thing" and of the S stuff classes, from the levels at strides 4 to 32.

    Panoptic FPN (Kirillov et al., arXiv:1901.02446, section 3, "semantic segmentation branch"): each level goes through
    stages of 3x3 convolution, ReLU and bilinear doubling until stride 4 (the first through one stage without doubling),
    and the sum through a 1x1 convolution; all things share one class, "which avoids predicting stuff classes within
    such pixels". Ours: standardised weights instead of group normalisation, so that nothing of it is left on export.
    """

    def __init__(self, settings: NetSettings) -> None:
        super().__init__()
        width = settings.semantic_channels
        self.levels = nn.ModuleList()
        for doublings in range(4):
            stages = nn.ModuleList()
            for stage in range(max(doublings, 1)):
                conv = StandardisedConv(settings.fpn_channels if stage == 0 else width, width, 3)
                nn.init.constant_(conv.gain, RELU_GAIN)
                stages.append(conv)
            self.levels.append(stages)
        self.logits = nn.Conv2d(width, 1 + settings.stuff_classes, 1)
        nn.init.normal_(self.logits.weight, std=0.01)
        assert self.logits.bias is not None
        nn.init.zeros_(self.logits.bias)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        fine, *coarse = (self._stages(number, level) for number, level in enumerate(pyramid[:4]))
        # The 1x1 convolution and the last doubling can change places, both being linear: few channels are enlarged
        # instead of many. The bias counts twice, which training does not see.
        logits: Tensor = self.logits(fine) + doubled(self.logits(sum(coarse)))
        return logits

    def _stages(self, number: int, level: Tensor) -> Tensor:
        """Level `number` after its convolutions, before its last doubling."""
        stages = self.levels[number]
        assert isinstance(stages, nn.ModuleList)
        for position, conv in enumerate(stages):
            level = functional.relu(conv(doubled(level) if position else level))
        return level


def doubled(features: Tensor) -> Tensor:
    """Features (B, F, h, w) enlarged bilinearly to (B, F, 2h, 2w)."""
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def pooled_by_mask(features: Tensor, masks: Tensor) -> Tensor:
    """Mean of features (R, F, S, S) weighted by soft masks (R, 2S, 2S): sum(S X) / (sum(S) + eps), (R, F).

    Differentiable in the masks, as training masks through the tracking loss needs (WSMOTS section 3.1); an empty mask
    gives zeros.
    """
    weights = functional.avg_pool2d(masks.unsqueeze(1), 2)  # (R, 1, S, S)
    total = weights.sum(dim=(2, 3))  # (R, 1)
    return (features * weights).sum(dim=(2, 3)) / (total + 1e-4)


def mask_boxes(boxes: Tensor, context: float) -> Tensor:
    """Boxes (..., 4) grown about their centres to `context` times their sides: the extent of the mask grid."""
    if context == 1.0:
        return boxes
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) * (context / 2)
    return torch.cat([centre - half, centre + half], dim=-1)
