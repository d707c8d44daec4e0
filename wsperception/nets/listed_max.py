"""Channel-wise maxima over lists of cells: max pooling over windows of any shape."""

from typing import Any

import torch
from torch import Tensor

BLOCK = 4096
"""Lists that are worked on at once: what they need fits the cache of a core."""


def listed_max(features: Tensor, lists: Tensor, scales: Tensor) -> Tensor:
    """Largest value of each channel over each list of cells, times the scale of the list.

    features  (N, C) float32 or float64   values of N cells; NaN is not allowed
    lists     (B, K) int64                rows of `features`; -1 fills up a list, after its last cell
    scales    (B,)                        no gradient flows to them

    Returns (B, C); a list without a cell gives zeros. The gradient goes to the cell that gave the maximum, one of them
    where several did.
    """
    maxima: Tensor = _ListedMax.apply(features, lists, scales)
    return maxima


class _ListedMax(torch.autograd.Function):
    """Works on ranks: the cells of a channel in order of their values.

    The maximum of small integers takes a quarter of the memory traffic of a maximum of floats that also keeps its
    place, and it is its own place: rank r of a channel belongs to one cell. Rank 0 stands for no cell.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, lists: Tensor, scales: Tensor) -> Tensor:
        order = features.argsort(dim=0)  # (N, C): cell of every rank
        table = _ranks(order)  # (N + 1, C)
        values = torch.cat([torch.zeros_like(features[:1]), features.gather(0, order)])  # (N + 1, C) by rank
        ranks = table.new_zeros((len(lists), table.shape[1]))
        result = features.new_empty(ranks.shape)
        for start in range(0, len(lists), BLOCK):
            part = slice(start, start + BLOCK)
            best = _highest(table, lists[part])
            ranks[part] = best
            torch.gather(values, 0, best.long(), out=result[part])
            result[part] *= scales[part, None]
        ctx.save_for_backward(order, ranks, scales)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        order, ranks, scales = ctx.saved_tensors
        by_rank = gradient.new_zeros((len(order) + 1, order.shape[1]))
        for start in range(0, len(ranks), BLOCK):
            part = slice(start, start + BLOCK)
            by_rank.scatter_add_(0, ranks[part].long(), gradient[part] * scales[part, None])
        return torch.zeros_like(by_rank[1:]).scatter_(0, order, by_rank[1:]), None, None


def _ranks(order: Tensor) -> Tensor:
    """Ranks (N + 1, C) from 1 of the cells, given the cell (N, C) of every rank; a row of 0 last, which -1 reads."""
    cells, channels = order.shape
    kind = torch.int16 if cells < 2**15 - 1 else torch.int32
    ranks = torch.zeros((cells + 1, channels), dtype=kind, device=order.device)
    counted = torch.arange(1, cells + 1, dtype=kind, device=order.device)[:, None].expand(-1, channels)
    return ranks.scatter_(0, order, counted)


def _highest(table: Tensor, lists: Tensor) -> Tensor:
    """Highest rank (B, C) over each list (B, K) of rows of `table` (N + 1, C)."""
    lengths = (lists >= 0).sum(dim=1)
    lengths, by_length = lengths.sort(descending=True)
    lists = lists[by_length]
    longest = int(lengths[0]) if len(lengths) else 0
    living = torch.searchsorted(-lengths, -torch.arange(longest, device=lengths.device)).tolist()
    best = table.new_zeros((len(lists), table.shape[1]))
    for place, count in enumerate(living):
        torch.maximum(best[:count], table[lists[:count, place]], out=best[:count])
    return torch.empty_like(best).index_copy_(0, by_length, best)
