"""Where an image shows the classes it is tagged with: Grad-CAM of a classifier (LAT section 3.3).

Li, Arnab, Torr, ECCV 2018. Images are classified in fixed crops, as they were tagged (appendix B.2).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wsperception.data.clips import ClipFrame
from wsperception.errors import InputError
from wsperception.learn.panoptic.cleaning import IGNORE
from wsperception.learn.panoptic.labels import CueSettings, crf_labels, cue_labels, relative_heat
from wsperception.learn.tags.tagged_image import frame_tags
from wsperception.nets.semantic_net import SemanticSettings, TagNet, enlarged
from wsperception.settings import check, setting


@dataclass(frozen=True)
class TagSettings:
    """How the classifier learns; whatever is not here is as the semantic network has it. Defaults: appendix B.2."""

    iterations: int = setting(50000, "steps", low=1)
    batch: int = setting(1, "crops per step", low=1)
    learning_rate: float = setting(1e-4, "peak rate for a batch of training.reference_batch", low=0.0, high=10.0)

    def __post_init__(self) -> None:
        check(self)


class TagLearner(nn.Module):
    """The loss of a batch of crops that carry tags; `net` is the classifier."""

    def __init__(self, settings: SemanticSettings, class_count: int) -> None:
        super().__init__()
        self.net = TagNet(settings, class_count)

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The loss, and the share of right guesses; generators and progress are not used.

        Raises InputError where crops differ in size.
        """
        if len({frame.image.shape for frame in frames}) > 1:
            raise InputError(f"{frames[0].source}: expected crops of one size, or method.tags.batch=1")
        device = self.net.classify.weight.device
        images = torch.from_numpy(np.stack([frame.image for frame in frames])).to(device)
        tags = torch.from_numpy(np.stack([frame_tags(frame) for frame in frames])).to(device)
        logits = self.net(images).float()
        right = ((logits > 0) == tags).sum()
        return {"tags": tag_loss(logits, tags)}, {"right": torch.stack([right, right.new_tensor(tags.numel())]).float()}


PIXELS_TOGETHER = 2**20
"""Pixels of the crops that the classifier sees at once: small ones are faster together, many large ones fill memory."""


def tag_loss(logits: Tensor, tags: Tensor) -> Tensor:
    """Eq. 6: the mean over classes of the binary cross-entropy; logits and tags (B, C), the mean over images too."""
    return functional.binary_cross_entropy_with_logits(logits, tags.to(logits.dtype))


@torch.no_grad()
def class_heat(net: TagNet, images: Tensor) -> Tensor:
    """Grad-CAM (B, C, h, w) of every class over (B, h, w, 3) RGB images in 0..255: at least 0, not normalised.

    No backward pass is needed: behind the activations the network is a mean over the map and one linear layer, so that
    the gradient of a class's score is its row of that layer, over the number of cells, everywhere.
    """
    activations = net.activations(images).float()
    alpha = net.classify.weight.float() / (activations.shape[2] * activations.shape[3])
    heat = functional.relu(torch.einsum("cf,bfij->bcij", alpha, activations))
    return enlarged(heat, (images.shape[1], images.shape[2]))


def tag_cues(net: TagNet, image: np.ndarray, crops: np.ndarray, tags: np.ndarray, settings: CueSettings) -> np.ndarray:
    """Label map (H, W) uint8 of an image (H, W, 3) uint8 RGB from the tags (K, C) bool of its crops (K, 4).

    The classifier is told nothing: tags only choose which maps count. An image that nobody tagged, K = 0, has no label.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    if len(crops) == 0:
        return np.full(size, IGNORE, np.uint8)
    parts = torch.from_numpy(np.stack([image[y0:y1, x0:x1] for x0, y0, x1, y1 in crops.tolist()]))
    together = max(1, PIXELS_TOGETHER // (parts.shape[1] * parts.shape[2]))
    device = net.classify.weight.device
    heat = np.concatenate([class_heat(net, part.to(device)).cpu().numpy() for part in parts.split(together)])
    relative = relative_heat(list(heat), crops, tags, size)
    if settings.overlap == "crf":
        return crf_labels(relative, image, (crops, tags), settings)
    return cue_labels(relative, settings)
