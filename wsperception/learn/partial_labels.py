"""Losses over labels of which only a part is known."""

from torch import Tensor
from torch.nn import functional

from wsperception.learn.panoptic_cleaning import IGNORE


def partial_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (B, C, H, W) with labels (B, H, W) int64 over the pixels that are not IGNORE: a scalar.

    The mean over these pixels of the whole batch: Eq. 1 of LAT (Li, Arnab, Torr, ECCV 2018) over Omega', section 3.1.
    Without any it is 0, attached to the graph.
    """
    total = functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)
