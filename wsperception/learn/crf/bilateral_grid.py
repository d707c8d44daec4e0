"""Products with a dense Gaussian affinity over colour and position: exact, and fast.

W_ij = exp(-|I_i - I_j|^2 / (2 sigma_rgb^2) - |x_i - x_j|^2 / (2 sigma_xy^2)) over all pairs of pixels of an image. W_ii
is 1 and is kept, as bilateral filters keep it.

Exact, an image of 128 x 128 has 2.7e8 pairs. The fast product is P B P^T instead, symmetric and positive as W is:

- Position. sigma_xy is of the size of the image, so the Gaussian over positions is smooth: a few products of
  eigenvectors of its two axes' matrices carry it, 6 of 16384 for sigma_xy = 100 at 128 x 128. This is cheaper and
  closer than two more axes of a grid.
- Colour. A grid over RGB with cells of 0.75 sigma_rgb: values are splat to the 8 nodes around each colour with
  multilinear weights, blurred by a Gaussian matrix along each axis, and read back with the same weights (Paris and
  Durand, ECCV 2006). Splatting and reading widen the kernel by a third of a squared cell: the blur is narrower by as
  much. They also make it depend on where between the nodes a colour lies; both ends are scaled so that every colour's
  affinity to itself is 1.

The grid follows from the sigmas alone, so that images of different colours share one batch.
"""

import functools
import math

import torch
from torch import Tensor

CELL = 0.75
"""Side of a colour cell in sigma_rgb. On crops of street scenes W S was at most 2.6 % off; with 1.0, up to 4.5 %."""
POSITION_TOLERANCE = 1e-3
"""Products of eigenvectors below this share of the largest are dropped."""
WORKING_SET = 1 << 22
"""Numbers in the largest intermediate tensor: as many images at once as keep below, yet at least one."""


def exact_product(values: Tensor, images: Tensor, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """W times each of C maps: (R, C, H, W), in time quadratic in the number of pixels.

    values  (R, C, H, W) float32 or float64
    images  (R, 3, H, W) float     RGB, 0 to 255

    Sigmas are in units of colour and in pixels. No image gives an empty result.
    """
    height, width = values.shape[2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=values.device) for n in (height, width)), indexing="ij")
    position = torch.stack([x, y]).to(values.dtype).flatten(1) / sigma_xy  # (2, N)
    found = [
        _exact_product(maps.flatten(1).T, torch.cat([colour.flatten(1) / sigma_rgb, position]).T)
        for maps, colour in zip(values, (images - 127.5).to(values.dtype), strict=True)
    ]
    return torch.stack(found).transpose(1, 2).reshape(values.shape) if found else torch.zeros_like(values)


def _exact_product(values: Tensor, points: Tensor) -> Tensor:
    """Values (N, C) of points (N, 5), as many rows of W at once as the working set allows."""
    half_norms = points.square().sum(dim=1) / 2
    rows = max(1, WORKING_SET // len(points))
    parts = []
    # Below the lower bound lie numbers so small that the processor is many times slower over them.
    for some, norms in zip(points.split(rows), half_norms.split(rows), strict=True):
        exponents = torch.addmm(-half_norms[None], some, points.T) - norms[:, None]
        parts.append(exponents.clamp_(-80.0, 0.0).exp_() @ values)
    return torch.cat(parts)


def grid_product(values: Tensor, images: Tensor, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """About W times each of C maps: (R, C, H, W), in time linear in the number of pixels. Arguments: `exact_product`.

    On a GPU the sums of the splat come in any order and differ in the last digits from run to run, unless
    `torch.use_deterministic_algorithms` is on.
    """
    channels, height, width = values.shape[1:]
    position = _position_features(height, width, sigma_xy, values.device, values.dtype)  # (N, K)
    nodes = max(2, math.ceil(255.0 / (CELL * sigma_rgb)) + 1)
    at_once = max(1, WORKING_SET // (channels * position.shape[1] * max(nodes**3, height * width)))
    parts = [
        _grid_product(some.flatten(2), pictures.flatten(2), position, sigma_rgb, nodes)
        for some, pictures in zip(values.split(at_once), images.to(values.dtype).split(at_once), strict=True)
        if len(some)
    ]
    return torch.cat(parts).reshape(values.shape) if parts else torch.zeros_like(values)


def _grid_product(values: Tensor, images: Tensor, position: Tensor, sigma_rgb: float, nodes: int) -> Tensor:
    """Values (R, C, N), images (R, 3, N), position features (N, K): (R, C, N)."""
    count, channels, pixels = values.shape
    blur = _blur(nodes, values)
    corners, weights = _colour_corners(images.clamp(0.0, 255.0) / (CELL * sigma_rgb), nodes, blur)
    spread = torch.einsum("rcn,nk->rnck", values, position).flatten(2).flatten(0, 1)  # (R * N, D)
    grid = values.new_zeros(count * nodes**3, spread.shape[1])
    for corner, weight in zip(corners, weights, strict=True):
        grid.index_add_(0, corner, spread * weight[:, None])
    grid = grid.view(count, nodes, nodes, nodes, -1)
    for axis in (1, 2, 3):
        grid = torch.tensordot(blur, grid, dims=([1], [axis])).movedim(0, axis)
    grid = grid.reshape(count * nodes**3, -1)
    read = torch.zeros_like(spread)
    for corner, weight in zip(corners, weights, strict=True):
        read.addcmul_(grid[corner], weight[:, None])
    return torch.einsum("rnck,nk->rcn", read.view(count, pixels, channels, -1), position)


def _blur(nodes: int, like: Tensor) -> Tensor:
    """Gaussian matrix (nodes, nodes) along one axis of the colour grid."""
    variance = CELL**-2 - 1.0 / 3.0
    steps = torch.arange(nodes, device=like.device, dtype=like.dtype)
    return torch.exp((steps[:, None] - steps).square() / (-2.0 * variance))


def _colour_corners(colours: Tensor, nodes: int, blur: Tensor) -> tuple[Tensor, Tensor]:
    """The 8 nodes around each colour, as rows of the grids of all images, and their weights: (8, R * N) each.

    colours  (R, 3, N) in cells, within [0, nodes - 1]
    """
    low = colours.floor().clamp(max=nodes - 2)
    share = colours - low
    ends = torch.stack([1.0 - share, share])  # (2, R, 3, N)
    # What splat, blur and reading make of a colour's affinity to itself, axis by axis.
    own = blur[0, 0] * ends.square().sum(dim=0) + 2.0 * blur[0, 1] * ends.prod(dim=0)
    ends = ends / own.sqrt()
    weights = torch.einsum("arn,brn,crn->abcrn", *ends.unbind(dim=2))
    row = torch.arange(len(colours), device=colours.device)[:, None]
    for axis in range(3):
        row = row * nodes + low[:, axis].long()
    steps = torch.arange(2, device=colours.device)
    corner = (steps[:, None, None] * nodes + steps[:, None]) * nodes + steps  # (2, 2, 2)
    return (row + corner[..., None, None]).reshape(8, -1), weights.reshape(8, -1)


@functools.lru_cache(maxsize=8)
def _position_features(height: int, width: int, sigma: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """F (H * W, K) such that F F^T is about the Gaussian of `sigma` pixels over the positions of an image."""
    (down, down_values), (across, across_values) = (_axis_features(side, sigma) for side in (height, width))
    strengths = down_values[:, None] * across_values
    rows, columns = torch.nonzero(strengths > POSITION_TOLERANCE * strengths.max()).unbind(dim=1)
    features = torch.einsum("yk,xk->yxk", down[:, rows], across[:, columns])
    return features.flatten(0, 1).to(device, dtype)


def _axis_features(side: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Eigenvectors of the Gaussian matrix of one axis times the roots of their eigenvalues, and these: (n, n), (n,)."""
    steps = torch.arange(side, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(torch.exp((steps[:, None] - steps).square() / (-2.0 * sigma**2)))
    values = values.clamp(min=0.0)
    return vectors * values.sqrt(), values
