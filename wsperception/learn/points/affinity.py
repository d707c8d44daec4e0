"""E-Net's side of WISE (Laradji et al., section 3.2): what pixels of one object have in common, learnt from proposals.

Throughout `pixels` (N, 2) int64 are row and column of the objects' labelled pixels.
"""

import numpy as np
import torch
from torch import Tensor

from wsperception.data.segments import OUTSIDE, Segments

SMALLEST = 1e-6
"""S of a pair of different objects stays this far from 1, so that the logarithm stays finite."""
SMALLEST_ODDS = 1e-12
"""Of a segment of no objectness: it is drawn where all are such."""


def distances(embeddings: Tensor, others: Tensor) -> Tensor:
    """-log S(i, j) = |E_i - E_j|^2 / 2d of Eq. 2 for embeddings (A, d) and (N, d): (A, N), >= 0."""
    squared = embeddings.square().sum(dim=1)[:, None] + others.square().sum(dim=1) - 2.0 * embeddings @ others.T
    return squared.clamp(min=0.0) / (2.0 * embeddings.shape[1])


def pair_losses(embeddings: Tensor, others: Tensor, same: Tensor) -> Tensor:
    """The addends of Eq. 3 for every pair of embeddings (A, d) and (N, d): (A, N).

    same  (A, N) bool   both pixels belong to one object

    -log S where they do, in which log and exp cancel (footnote 1), and -log(1 - S) where they do not. Only in the
    latter S is kept below 1 - SMALLEST; a bound on the former would let go of the pairs that are farthest apart.
    """
    apart = distances(embeddings, others)
    return torch.where(same, apart, -torch.log(-torch.expm1(-apart.clamp(min=SMALLEST))))


def draw_segments(segments: Segments, pixels: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """(N,) int64: for every object one of the segments that hold its pixel, by the odds of their objectness.

    -1 where no segment holds it, as outside of the image.
    """
    odds = segments.holding(pixels) * np.maximum(segments.objectness.astype(np.float64), SMALLEST_ODDS)  # (N, P)
    drawn = np.full(len(pixels), -1, np.int64)
    known = odds.sum(axis=1) > 0
    if known.any():
        drawn[known] = torch.multinomial(torch.from_numpy(odds[known]), 1, generator=generator)[:, 0].numpy()
    return drawn


def background(segments: Segments, chosen: np.ndarray) -> np.ndarray:
    """(h, w) bool: the pixels of the image in none of the segments that stand for its objects.

    chosen  (N,) int64   segments by number; -1 holds no pixel

    The paper says: in no proposal at all. Its proposals are a thousand that a network, trained with masks, took for
    objects; ours are the nodes of merge trees and cover the image. What lies in none that holds an object's point is a
    third of it and far from every object, so that nothing would say where objects end. In none that was drawn: a pixel
    is background as often as it is in no pseudo mask.
    """
    covered = segments.members()[:, chosen[chosen >= 0]].any(axis=1)  # (S + 1,)
    inside = segments.superpixels != OUTSIDE
    free: np.ndarray = inside & ~np.asarray(covered)[segments.rows()]
    return free


def draw_pixels(mask: np.ndarray, count: int, generator: torch.Generator) -> np.ndarray:
    """(count, 2) int64 row and column of random pixels of a mask (h, w) bool, with repetition; none of an empty one."""
    inside = np.flatnonzero(mask)
    if len(inside) == 0:
        return np.zeros((0, 2), np.int64)
    chosen = inside[torch.randint(len(inside), (count,), generator=generator).numpy()]
    return np.stack(np.divmod(chosen, mask.shape[1]), axis=1)
