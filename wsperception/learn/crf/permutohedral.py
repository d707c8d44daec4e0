"""Products with a dense Gaussian affinity of N points, prepared once and applied many times, in time linear in N.

The grid of `wsperception.learn.crf.bilateral_grid` has a node for every colour there could be: it suits broad kernels
over small crops. The CRFs of the field compare colours with sigmas of 3 of 255 over whole images: that would be 1.5
million nodes for each of a hundred products of eigenvectors. A lattice has nodes only where pixels are.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010: features of
d dimensions are laid onto the plane in d + 1 dimensions whose coordinates sum to 0, where each point lies in a simplex
of d + 1 nodes. Values are splat to these with barycentric weights, blurred by (1, 2, 1) / 4 along the d + 1 axes, and
read back with the same weights. Two things differ from the paper. The axes are blurred in both orders and the mean is
taken: nodes without points are left out, which makes a single order unsymmetric, and two to five times as many labels
of a CRF wrong. And both ends are scaled so that every point's affinity to itself is 1, wherever in its simplex it lies.
"""

import functools
import math
from collections import defaultdict

import torch
from torch import Tensor
from torch.nn import functional

BITS = 12
"""Bits of a coordinate in the key of a node: points may lie some 400 deviations from 0."""


class PermutohedralLattice:
    """About W_ij = exp(-|f_i - f_j|^2 / 2) between points; `product` is D^-1/2 W D^-1/2 times maps, D = W 1.

    features  (N, d) float32 or float64, N >= 1, d <= 5: in deviations of the kernel, small beside 400; no gradient
              goes here

    W itself comes out up to a sixth too large where points lie close together, as the kernel is broader than a Gaussian
    with the same peak; normalised it does not. On crops of street scenes under DeepLab's kernel (67 pixels, 3 of 255)
    products were 4 % off.
    """

    def __init__(self, features: Tensor) -> None:
        features = features.detach()
        corners, weights = _simplices(features)  # (N, d + 1) each
        own = torch.einsum("na,ab,nb->n", weights, _own_affinities(features.shape[1]).to(weights), weights)
        ordered, order = corners.flatten().sort()
        first = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
        nodes = torch.empty_like(order).scatter_(0, order, first.cumsum(0) - 1)
        self._nodes = nodes.view(corners.shape).int()
        # The same incidences, sorted by node: what each node gathers when values are splat. The last node has none.
        self._order = order
        self._points = (order // corners.shape[1]).int()
        self._starts = torch.cat([first.nonzero()[:, 0], order.new_tensor([len(order)])]).int()
        self._axes = _axes(ordered[first], features.shape[1])
        self._taps = weights.new_tensor([0.5, 0.25, 0.25]).repeat(len(self._starts), 1)
        self._taps[-1] = 0.0
        self._scale_by(weights * own.rsqrt()[:, None])
        self._scale_by(self._weights * self.product(features.new_ones(len(features), 1)).rsqrt())

    def product(self, values: Tensor) -> Tensor:
        """The product with each of C contiguous maps over the points: (N, C) of the dtype of the features.

        Autograd does not see through it. As the matrix is symmetric, its gradient is the product with the gradient.
        """
        nodes = functional.embedding_bag(
            self._points, values, self._starts, mode="sum", per_sample_weights=self._point_weights
        )
        blurred = self._blur(nodes, self._axes).add_(self._blur(nodes, self._axes[::-1]))
        return functional.embedding_bag(self._nodes, blurred, mode="sum", per_sample_weights=self._weights / 2)

    def _blur(self, nodes: Tensor, axes: list[Tensor]) -> Tensor:
        for axis in axes:
            nodes = functional.embedding_bag(axis, nodes, mode="sum", per_sample_weights=self._taps)
        return nodes

    def _scale_by(self, weights: Tensor) -> None:
        self._weights = weights
        self._point_weights = weights.flatten()[self._order]


def _simplices(features: Tensor) -> tuple[Tensor, Tensor]:
    """Keys (N, d + 1) int64 of the nodes around each point, by remainder 0 to d, and barycentric weights (N, d + 1)."""
    dims = features.shape[1]
    lifted = _lifting(dims).to(features) @ features.T  # (d + 1, N), each column sums to 0
    # The closest node whose coordinates are all multiples of d + 1, and in which order the rests decrease.
    multiples = torch.round(lifted / (dims + 1))
    rank = _ranks(lifted - multiples * (dims + 1)) + multiples.sum(dim=0).long()
    wrap = (rank < 0).long() - (rank > dims).long()
    rank += wrap * (dims + 1)
    multiples += wrap
    rests = (lifted - multiples * (dims + 1)) / (dims + 1)
    falling = torch.zeros_like(rests).scatter_(0, rank, rests)  # rests by rank
    # Node k of a simplex differs from node k - 1 in the coordinate of rank d + 1 - k.
    steps = falling[:-1] - falling[1:]  # (d, N), by rank 0 to d - 1
    weights = torch.cat([1.0 - steps.sum(dim=0, keepdim=True), steps.flip(0)])
    base = (multiples[:dims] * (dims + 1)).long() + 2 ** (BITS - 1)
    digits = 2 ** (BITS * torch.arange(dims, device=features.device))
    first = torch.einsum("cn,c->n", base, digits)
    wrapped = (dims + 1) * digits[:, None]
    keys = [first + k * digits.sum() - ((rank[:dims] > dims - k) * wrapped).sum(dim=0) for k in range(dims + 1)]
    return torch.stack(keys, dim=1), weights.T.contiguous()


def _ranks(values: Tensor) -> Tensor:
    """(K, N) int64: how many of the K values of a column are larger than each, of equal ones those before it.

    Sorting columns of six takes many times as long.
    """
    ranks = torch.zeros_like(values, dtype=torch.int64)
    for row in range(len(values)):
        for other in range(row):
            before = values[other] >= values[row]
            ranks[row] += before
            ranks[other] += ~before
    return ranks


def _axes(keys: Tensor, dims: int) -> list[Tensor]:
    """For each axis (M + 1, 3) int32: every one of M nodes, its neighbour ahead and behind; M where there is none.

    keys  (M,) int64, ascending
    """
    digits = 2 ** (BITS * torch.arange(dims, device=keys.device))
    none = len(keys)
    keys = torch.cat([keys, keys.new_tensor([torch.iinfo(keys.dtype).max // 2])])  # a node that is nobody's neighbour
    rows = torch.arange(none + 1, device=keys.device)
    axes = []
    for axis in range(dims + 1):
        # The last coordinate is not part of the key: the others determine it.
        wanted = keys + digits.sum() - (digits[axis] * (dims + 1) if axis < dims else 0)
        place = torch.searchsorted(keys, wanted).clamp(max=none)
        ahead = torch.where(keys[place] == wanted, place, none)
        behind = torch.full_like(rows, none).scatter_(0, ahead, rows)  # whoever is ahead of one has it behind
        behind[none] = none
        axes.append(torch.stack([rows, ahead, behind], dim=1).int())
    return axes


@functools.lru_cache(maxsize=8)
def _lifting(dims: int) -> Tensor:
    """(d + 1, d) float64 onto the plane, at the scale at which splat, blur and reading make a deviation of 1."""
    lifting = torch.zeros(dims + 1, dims, dtype=torch.float64)
    for column in range(dims):
        lifting[: column + 1, column] = 1.0
        lifting[column + 1, column] = -(column + 1)
    scaled: Tensor = lifting / lifting.norm(dim=0) * (math.sqrt(2.0 / 3.0) * (dims + 1))
    return scaled


@functools.lru_cache(maxsize=8)
def _own_affinities(dims: int) -> Tensor:
    """(d + 1, d + 1) float64: what one at node a of a simplex leaves at node b when all axes are blurred."""
    masses = {(0,) * (dims + 1): 1.0}
    for axis in range(dims + 1):
        step = [1 if other != axis else -dims for other in range(dims + 1)]
        spread: dict[tuple[int, ...], float] = defaultdict(float)
        for place, mass in masses.items():
            for factor, share in ((0, 0.5), (1, 0.25), (-1, 0.25)):
                spread[tuple(p + factor * s for p, s in zip(place, step, strict=True))] += share * mass
        masses = spread
    # Nodes a and b differ as nodes 0 and b - a do, up to the order of the coordinates.
    by_difference = [
        masses.get(tuple(k if rank <= dims - k else k - (dims + 1) for rank in range(dims + 1)), 0.0)
        for k in range(dims + 1)
    ]
    rows = [[by_difference[(b - a) % (dims + 1)] for b in range(dims + 1)] for a in range(dims + 1)]
    return torch.tensor(rows, dtype=torch.float64)
