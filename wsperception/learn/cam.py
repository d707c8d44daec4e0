"""Grad-CAM heat of true boxes: where the box branch sees the class that it is told (WSMOTS section 3.1 and 3.2).

Selvaraju et al., "Grad-CAM", ICCV 2017. Heat is a target, never a path for gradients: everything here is detached.
"""

import torch
from torch import Tensor
from torch.nn import functional

from wsperception.nets.heads import MASK_SIDE, BoxHead

VARIANTS = ("absolute", "relu")
SCALES = ("range", "maximum")


def heat_of_boxes(box: BoxHead, features: Tensor, classes: Tensor, variant: str, scale: str) -> Tensor:
    """Heat (N, 28, 28) float32 in [0, 1] of N boxes for their classes, on the present weights.

    features  (N, F, 14, 14)   RoI features of the boxes
    classes   (N,) int64       index into the label space
    variant   "absolute" or "relu", see `grad_cam`
    scale     "range" or "maximum", see `normalised`

    One backward pass serves all boxes: no layer of the box branch mixes RoIs, so the gradient of the sum of their
    scores is each one's own. It ends at the activations and reaches no parameter; weights' gradients, and the hooks of
    distributed training on them, are left alone. Float32 whatever the autocast: half precision loses gradients of
    1e-8, and a weight that autocast first rounds here, without a graph, would stay without one for the losses.
    """
    if len(features) == 0:
        return features.new_zeros((0, MASK_SIDE, MASK_SIDE), dtype=torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        with torch.no_grad():
            activations = box.activations(features.detach().float())
        with torch.enable_grad():
            activations.requires_grad_()
            logits, _ = box.scores(activations)
            chosen = logits.gather(1, classes[:, None] + 1)  # column 0 is background
            (gradients,) = torch.autograd.grad(chosen.sum(), activations)
        heat = normalised(grad_cam(activations.detach(), gradients, variant), scale)
        # The paper gives 28x28; the box branch has 14x14.
        size = (MASK_SIDE, MASK_SIDE)
        return functional.interpolate(heat[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def grad_cam(activations: Tensor, gradients: Tensor, variant: str) -> Tensor:
    """Heat (N, S, S) of activations (N, F, S, S) under the gradients (N, F, S, S) of a score (Eq. 10 and 11).

    alpha is the mean of the gradients over the map. variant "absolute": sum over k of |alpha_k| A_k, the paper's own
    choice (section 3.2); "relu": ReLU of the sum over k of alpha_k A_k (Eq. 10).
    """
    weights = gradients.mean(dim=(2, 3))  # (N, F)
    if variant == "absolute":
        return torch.einsum("nf,nfij->nij", weights.abs(), activations)
    return functional.relu(torch.einsum("nf,nfij->nij", weights, activations))


def normalised(heat: Tensor, scale: str) -> Tensor:
    """Each map of (N, S, S) brought to [0, 1]; a map without contrast becomes 0 everywhere.

    scale "range": lowest value to 0, highest to 1. "maximum": negative values to 0, highest to 1. The paper only asks
    for [0, 1].
    """
    highest = heat.amax(dim=(1, 2), keepdim=True)
    lowest = heat.amin(dim=(1, 2), keepdim=True) if scale == "range" else torch.zeros_like(highest)
    span = highest - lowest
    # Relative to the values: a constant map leaves rounding errors of 1e-7 of its height.
    contrast = span > 1e-6 * highest.abs()
    scaled = (heat - lowest) / torch.where(contrast, span, torch.ones_like(span))
    return torch.where(contrast, scaled.clamp(0.0, 1.0), torch.zeros_like(scaled))
