"""Where an image shows the classes it is tagged with: Grad-CAM of a classifier (LAT section 3.3).

Li, Arnab, Torr, ECCV 2018. Images are classified in fixed crops, as they were tagged (appendix B.2).
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn.panoptic_cleaning import fixed_crops
from wsperception.learn.panoptic_labels import CueSettings, cue_labels, cue_masks
from wsperception.nets.semantic_net import TagNet, enlarged


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


def tag_cues(net: TagNet, image: np.ndarray, tags: np.ndarray, settings: CueSettings) -> np.ndarray:
    """Label map (H, W) uint8 of an image (H, W, 3) uint8 RGB from the tags (K, C) bool of its fixed crops.

    The classifier is told nothing: tags only choose which maps count.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    crops = fixed_crops(size, (settings.crop_height, settings.crop_width))
    assert len(tags) == len(crops), f"tags of {len(tags)} crops for {len(crops)}"
    weight = net.classify.weight
    heat = []
    for x0, y0, x1, y1 in crops.tolist():
        crop = torch.from_numpy(np.ascontiguousarray(image[None, y0:y1, x0:x1])).to(weight.device)
        heat.append(class_heat(net, crop)[0].cpu().numpy())
    return cue_labels(cue_masks(heat, crops, tags, size, settings.heat))
