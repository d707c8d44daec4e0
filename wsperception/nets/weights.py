"""Weights made elsewhere: ImageNet backbones and torchvision's COCO Mask R-CNN."""

import pickle
from pathlib import Path
from typing import Protocol, TypeGuard

import torch
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url
from torchvision.models import MobileNet_V2_Weights, MobileNet_V3_Large_Weights, ResNet18_Weights, ResNet50_Weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from wsperception.errors import InputError
from wsperception.nets.perception_net import IMAGE_DEVIATION, IMAGE_MEAN, PerceptionNet
from wsperception.nets.settings import DetectSettings, NetSettings

IMAGENET = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "mobilenet_v2": MobileNet_V2_Weights.IMAGENET1K_V1,
    "mobilenet_v3_large": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
}
COCO_CLASS_COUNT = 91  # with background
COCO_IDS = {"car": 3, "pedestrian": 1}
COCO_NET = NetSettings(
    backbone="resnet50",
    norm="frozen",
    pool_level=True,
    roi_half_pixel=False,
    box_conv_relu=False,
    embedding_length=256,
    track_head="pooled",
    other_classes=COCO_CLASS_COUNT - 1 - len(COCO_IDS),
)
COCO_DETECT = DetectSettings(box_nms=0.5)


BROKEN_FILE = (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, IndexError)
"""What torch.load raises for the ways in which a file can be broken or be something else."""


class BackboneSettings(Protocol):
    """Which backbone a network has, and with which normalisation."""

    @property
    def backbone(self) -> str: ...

    @property
    def norm(self) -> str: ...


class HasBody(Protocol):
    """What a network sees with: `body` has the names of a torchvision classifier, without its last layer."""

    @property
    def body(self) -> nn.Module: ...


class HasBackbone(Protocol):
    """A network that can start from ImageNet."""

    @property
    def settings(self) -> BackboneSettings: ...

    @property
    def backbone(self) -> HasBody: ...


def has_backbone(net: nn.Module) -> TypeGuard[HasBackbone]:
    """Whether `load_imagenet` may be asked for a network's weights."""
    # Not isinstance with the protocol: from Python 3.12 on it is blind to what torch keeps as a sub-module.
    return hasattr(net, "settings") and hasattr(net, "backbone")


def load_imagenet(net: HasBackbone, path: Path | None) -> None:
    """Puts a torchvision classifier's ImageNet weights into the backbone, in place.

    path  a state dict with torchvision's key names; None downloads it

    Raises InputError for a backbone or normalisation without such weights, and for a file that does not fit.
    """
    settings = net.settings
    if settings.backbone not in IMAGENET or settings.norm != "frozen":
        raise InputError(
            f"backbone {settings.backbone}, norm {settings.norm}: no ImageNet weights; expected norm frozen and one of "
            f"{', '.join(IMAGENET)}"
        )
    state = _state(path, IMAGENET[settings.backbone].url)
    body = {key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))}
    _load(net.backbone.body, body, path)


def for_our_inputs(state: dict[str, Tensor], mean: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    """A classifier's state dict for images (p - IMAGE_MEAN) / IMAGE_DEVIATION, from one for (p - mean) / deviation.

    state      of torchvision's names: the first convolution (F, 3, k, k), without a bias, comes first, and the
               normalisation behind it next
    mean       (3,) RGB of 0..255, as `deviation`

    With p = IMAGE_DEVIATION x + IMAGE_MEAN the old input is a x + b per colour: a is folded into the convolution, and
    what b adds to each of its outputs into the normalisation's mean. Equal but for the image's edge: zeros around it
    now mean IMAGE_MEAN, where they meant `mean`.
    """
    first = next(iter(state))
    normalisation = next(key for key in state if key.endswith("running_mean"))
    weight = state[first]
    scale = torch.tensor(IMAGE_DEVIATION) / deviation
    shift = (torch.tensor(IMAGE_MEAN) - mean) / deviation
    added = (weight.sum(dim=(2, 3)) * shift).sum(dim=1)
    changed = {first: weight * scale.view(1, 3, 1, 1), normalisation: state[normalisation] - added}
    return {**state, **changed}


def coco_perception_net(path: Path | None, names: tuple[str, ...] = ("car", "pedestrian")) -> PerceptionNet:
    """PerceptionNet that computes what torchvision's `maskrcnn_resnet50_fpn` does for cars and people.

    path  its COCO state dict; None downloads it

    The two extra convolutions are the identity, the other 88 classes count as background, and the embeddings are the
    mask-pooled features, since nothing was trained for tracking.
    """
    net = PerceptionNet(COCO_NET, len(names)).eval()
    state = _state(path, MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url)
    _load(net, _renamed(state, [COCO_IDS[name] for name in names], net), path)
    return net


def _renamed(state: dict[str, Tensor], coco_ids: list[int], net: PerceptionNet) -> dict[str, Tensor]:
    """torchvision's Mask R-CNN tensors under PerceptionNet's names."""
    renamed = {}
    prefixes = {
        "backbone.": "backbone.",
        "rpn.head.": "rpn.",
        "roi_heads.box_head.": "box.",
        "roi_heads.box_predictor.": "box.",
    }
    for key, value in state.items():
        for theirs, ours in prefixes.items():
            if key.startswith(theirs):
                renamed[ours + key.removeprefix(theirs)] = value
    others = [index for index in range(1, COCO_CLASS_COUNT) if index not in coco_ids]
    order = [0, *coco_ids]
    try:
        for part in ("weight", "bias"):
            for layer in range(net.settings.mask_layers):
                renamed[f"mask.convs.{2 * layer}.{part}"] = state[f"roi_heads.mask_head.{layer}.0.{part}"]
            renamed[f"mask.up.{part}"] = state[f"roi_heads.mask_predictor.conv5_mask.{part}"]
            renamed[f"mask.logits.{part}"] = state[f"roi_heads.mask_predictor.mask_fcn_logits.{part}"][coco_ids]
            renamed[f"box.cls_score.{part}"] = renamed[f"box.cls_score.{part}"][order + others]
            deltas = renamed[f"box.bbox_pred.{part}"].unflatten(0, (COCO_CLASS_COUNT, 4))
            renamed[f"box.bbox_pred.{part}"] = deltas[order].flatten(0, 1)
    except (KeyError, IndexError, RuntimeError) as error:
        raise InputError(f"expected the state dict of torchvision's maskrcnn_resnet50_fpn on COCO: {error}") from None
    channels = net.settings.fpn_channels
    for conv in ("conv1", "conv2"):
        renamed[f"box.{conv}.weight"] = torch.eye(channels)[:, :, None, None]
        renamed[f"box.{conv}.bias"] = torch.zeros(channels)
    return renamed


def _state(path: Path | None, url: str) -> dict[str, Tensor]:
    if path is None:
        try:
            state: dict[str, Tensor] = load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True
            )
        except OSError as error:
            raise InputError(f"{url}: cannot download the weights: {error}; give the file instead") from None
        return state
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a state dict with torchvision's names") from None
    except BROKEN_FILE as error:
        raise InputError(f"{path}: not readable as weights: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise InputError(f"{path}: expected a state dict of tensors")
    return loaded


def _load(module: nn.Module, state: dict[str, Tensor], path: Path | None) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path or 'downloaded weights'}: do not fit the network: {reason}") from None
