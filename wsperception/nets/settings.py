"""What a PerceptionNet is made of: the architecture part of a recipe."""

from dataclasses import dataclass

from wsperception.errors import InputError
from wsperception.settings import check, setting

BACKBONES = ("tiny", "mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50")


@dataclass(frozen=True)
class NetSettings:
    """Architecture of PerceptionNet; defaults: WSMOTS section 3, then the code it cites."""

    backbone: str = setting("resnet50", "feature extractor", choices=BACKBONES)
    norm: str = setting(
        "frozen", "normalisation: frozen for pretrained weights, group from scratch", choices=("frozen", "group")
    )
    fpn_channels: int = setting(256, "channels of every pyramid level", low=8, high=1024)
    pool_level: bool = setting(False, "a fifth, pooled level for proposals, as torchvision's COCO models have")
    anchor_scale: float = setting(8.0, "anchor side over level stride", low=1.0, high=64.0)
    anchor_ratios: tuple[float, ...] = setting((0.5, 1.0, 2.0), "anchor height over width", low=0.1, high=10.0)
    canonical_size: float = setting(
        224.0, "sqrt of the RoI area that is pooled from the stride-16 level", unit="px", low=16, high=1024
    )
    roi_half_pixel: bool = setting(
        True, "RoIAlign samples at cell centres; False reproduces torchvision's COCO weights"
    )
    box_features: int = setting(1024, "width of the two fully connected layers of the box branch", low=8, high=4096)
    box_conv_relu: bool = setting(True, "ReLU after each of the two extra 1x1 convolutions")
    mask_channels: int = setting(256, "channels of the mask branch", low=8, high=1024)
    mask_layers: int = setting(4, "3x3 convolutions of the mask branch", low=1, high=8)
    mask_sampling: int = setting(2, "RoIAlign samples per cell and axis in the mask branch", low=1, high=4)
    mask_context: float = setting(1.0, "side of the mask RoI over the side of its box", low=1.0, high=2.0)
    track_features: int = setting(128, "hidden width of the tracking head", low=8, high=1024)
    embedding_length: int = setting(8, "N_d of Table 1", low=2, high=1024)
    track_head: str = setting("learned", "pooled: the mask-pooled features themselves", choices=("learned", "pooled"))
    other_classes: int = setting(0, "classes that the box branch knows but that count as background", low=0, high=1000)
    stuff_classes: int = setting(
        0, "classes of the semantic branch, the last ones of the label space; 0: no such branch", low=0, high=200
    )
    semantic_channels: int = setting(128, "channels of the semantic branch", low=8, high=1024)

    def __post_init__(self) -> None:
        check(self)
        if self.track_head == "pooled" and self.embedding_length != self.fpn_channels:
            raise InputError(
                f"embedding_length: expected fpn_channels = {self.fpn_channels} for pooled features, "
                f"got {self.embedding_length}"
            )


@dataclass(frozen=True)
class DetectSettings:
    """How proposals become detections at inference."""

    pre_nms: int = setting(1000, "proposals kept per level before suppression", low=1, high=3840)
    proposals: int = setting(300, "proposals kept after suppression", low=1, high=2000)
    proposal_nms: float = setting(0.7, "IoU above which a proposal is suppressed", low=0.0, high=1.0)
    detections: int = setting(100, "rows of the output", low=1, high=300)
    min_score: float = setting(0.05, "class scores below are dropped before suppression", low=0.0, high=1.0)
    box_nms: float = setting(0.3, "IoU above which a detection of the same class is suppressed", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)
