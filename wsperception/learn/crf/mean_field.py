"""Mean-field inference in a dense CRF, unrolled: a Gaussian and a bilateral kernel between all pixels, Potts labels.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011; as a
recurrent network: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015. This is the
pairwise term of LAT's Eq. 2 (Li, Arnab, Torr, ECCV 2018), and the DenseCRF of its section 3.4.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from wsperception.learn.crf.permutohedral import PermutohedralLattice
from wsperception.settings import check, setting

REACH = 3.5
"""Deviations at which the Gaussian of the spatial kernel is cut; there it is 0.002."""


@dataclass(frozen=True)
class PairwiseSettings:
    """The two kernels and their weights. The defaults are DeepLab's as its widely used port has them."""

    iterations: int = setting(10, "updates of the mean field", low=1, high=100)
    spatial_weight: float = setting(3.0, "weight of nearness", low=0.0, high=100.0)
    spatial_sigma: float = setting(1.0, "distance of half-similar pixels there", unit="pixels", low=0.1, high=50.0)
    bilateral_weight: float = setting(4.0, "weight of nearness together with like colour", low=0.0, high=100.0)
    bilateral_sigma: float = setting(67.0, "distance of half-similar pixels there", unit="pixels", low=1.0, high=1000.0)
    colour_sigma: float = setting(3.0, "difference of half-similar colours, of 255", low=1.0, high=255.0)

    def __post_init__(self) -> None:
        check(self)

    @property
    def weights(self) -> tuple[float, float]:
        """Of the spatial and the bilateral kernel."""
        return self.spatial_weight, self.bilateral_weight


DEEPLAB = PairwiseSettings()
"""Chen et al., "DeepLab", in the port of K. Nakashima."""
IRNET = PairwiseSettings(10, 3.0, 3.0, 10.0, 50.0, 5.0)
"""Ahn et al., "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019."""


def mean_field(unaries: Tensor, image: Tensor, weights: Tensor, settings: PairwiseSettings) -> Tensor:
    """Probabilities Q (L, H, W) of L labels after the settings' number of updates; each pixel's sum to 1.

    unaries  (L, H, W) float, L, H, W >= 1     energies: minus the logarithm of a probability, up to a constant
    image    (3, H, W)                         RGB, 0 to 255; no gradient goes here
    weights  (2,) float                        of the spatial and the bilateral kernel, in place of the settings' two

    Q starts as softmax(-U); one update is Q = softmax(-U + w1 K1 Q + w2 K2 Q), which is the Potts model up to a
    constant: a pixel pays for every pixel like it with another label. Each kernel is normalised symmetrically,
    D^-1/2 K D^-1/2 with D = K 1, as the published code of the paper has it; also as there, and unlike the sums over
    i < j, a pixel counts among its own neighbours: the usual weights were chosen for that.

    Float32, or float64 where the unaries are. Differentiable with respect to unaries and weights.
    """
    labels, height, width = unaries.shape
    assert image.shape == (3, height, width), f"{tuple(image.shape)} for unaries {tuple(unaries.shape)}"
    with torch.autocast(unaries.device.type, enabled=False):
        energies = unaries if unaries.dtype == torch.float64 else unaries.float()
        negative = -energies.permute(1, 2, 0).reshape(height * width, labels)  # (N, L): rows are what kernels move
        kernels = _Kernels(image.to(negative.dtype), settings)
        field = negative.softmax(dim=1)
        for _ in range(settings.iterations):
            field = _Update.apply(field, negative, weights, kernels)  # type: ignore[no-untyped-call]
    return field.view(height, width, labels).permute(2, 0, 1)


def dense_crf(probabilities: Tensor, image: Tensor, settings: PairwiseSettings) -> Tensor:
    """Probabilities (C, H, W) of a network after `mean_field` with the settings' own weights; no gradient.

    probabilities  (C, H, W) float
    image          (3, H, W)        RGB, 0 to 255
    """
    with torch.no_grad():
        unaries = -probabilities.clamp(min=1e-8).log()
        return mean_field(unaries, image, unaries.new_tensor(settings.weights), settings)


class _Update(torch.autograd.Function):
    """softmax(-U + w1 K1 Q + w2 K2 Q) of Q (N, L), -U (N, L) and weights (2,).

    In one piece, since at this size fresh memory takes longer than the arithmetic: sums are made in place, and the way
    back needs the two Q only.
    """

    @staticmethod
    def forward(ctx: Any, field: Tensor, negative: Tensor, weights: Tensor, kernels: "_Kernels") -> Tensor:
        near, alike = weights.tolist()
        total = kernels.spatial(field.contiguous()).mul_(near).add_(negative)
        updated = total.add_(kernels.lattice.product(field.contiguous()), alpha=alike).softmax(dim=1)
        ctx.kernels = kernels
        ctx.save_for_backward(field, updated, weights)
        return updated

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        field, updated, weights = ctx.saved_tensors
        total = updated * (upstream - (upstream * updated).sum(dim=1, keepdim=True))
        # Kernels are symmetric, so that <total, K Q> is <K total, Q>: the weights need no product of their own.
        near, alike = ctx.kernels.spatial(total), ctx.kernels.lattice.product(total)
        by_weight = torch.stack([(near * field).sum(), (alike * field).sum()]).to(weights)
        return weights[0] * near + weights[1] * alike, total, by_weight, None


class _Kernels:
    """Both normalised kernels of one image, as products with contiguous (N, L); both are symmetric."""

    def __init__(self, image: Tensor, settings: PairwiseSettings) -> None:
        self.size = height, width = image.shape[1], image.shape[2]
        reach = math.ceil(REACH * settings.spatial_sigma)
        steps = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
        self._taps = torch.exp(-(steps / settings.spatial_sigma).square() / 2)
        self._scale = self._spread(image.new_ones(height * width, 1)).rsqrt()  # (N, 1)
        y, x = torch.meshgrid(
            *(torch.arange(n, device=image.device, dtype=image.dtype) for n in (height, width)), indexing="ij"
        )
        position = torch.stack([x - width / 2, y - height / 2]) / settings.bilateral_sigma
        features = torch.cat([position, (image.detach() - 127.5) / settings.colour_sigma]).flatten(1).T
        self.lattice = PermutohedralLattice(features)

    def spatial(self, field: Tensor) -> Tensor:
        return self._spread(field * self._scale).mul_(self._scale)

    def _spread(self, values: Tensor) -> Tensor:
        """The Gaussian of (N, L) along both axes. Kept in rows of labels, it takes a tenth of the time."""
        channels, reach = values.shape[1], len(self._taps) // 2
        maps = values.view(1, *self.size, channels).permute(0, 3, 1, 2)
        down = self._taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
        maps = functional.conv2d(maps, down, padding=(reach, 0), groups=channels)
        maps = functional.conv2d(maps, down.transpose(2, 3), padding=(0, reach), groups=channels)
        return maps.permute(0, 2, 3, 1).reshape(-1, channels)
