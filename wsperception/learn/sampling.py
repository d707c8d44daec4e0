"""Which anchors and RoIs a detection loss looks at: matching by IoU, then balanced random sampling."""

import torch
from torch import Tensor
from torchvision.ops import box_area, box_iou

BACKGROUND = -1
IGNORED = -2


def match(candidates: Tensor, boxes: Tensor, positive_iou: float, negative_iou: float, best_always: bool) -> Tensor:
    """For each candidate (A, 4) the row of its box, or BACKGROUND, or IGNORED between the two thresholds; (A,) int64.

    A candidate takes the box of highest IoU >= positive_iou. With `best_always`, the candidates of highest IoU with
    a box take it however low that is (but not at 0), as region proposal networks do. No boxes: all BACKGROUND.
    """
    if len(boxes) == 0 or len(candidates) == 0:
        return candidates.new_full((len(candidates),), BACKGROUND, dtype=torch.int64)
    overlap = box_iou(boxes, candidates)  # (N, A)
    best, matched = overlap.max(dim=0)
    result = torch.where(best >= positive_iou, matched, torch.full_like(matched, IGNORED))
    result[best < negative_iou] = BACKGROUND
    if best_always:
        highest = overlap.max(dim=1).values  # (N,)
        rows, columns = torch.nonzero((overlap >= highest[:, None] - 1e-6) & (overlap > 0), as_tuple=True)
        result[columns] = rows
    return result


def without_ignored(matches: Tensor, candidates: Tensor, ignore_boxes: Tensor, share: float = 0.5) -> Tensor:
    """Matches in which background candidates that lie to more than `share` in one ignore box become IGNORED."""
    if len(ignore_boxes) == 0 or len(candidates) == 0:
        return matches
    corner = torch.maximum(candidates[:, None, :2], ignore_boxes[None, :, :2])
    opposite = torch.minimum(candidates[:, None, 2:], ignore_boxes[None, :, 2:])
    inside = (opposite - corner).clamp(min=0).prod(dim=2).max(dim=1).values  # (A,)
    hidden = (matches == BACKGROUND) & (inside > share * box_area(candidates))
    return torch.where(hidden, torch.full_like(matches, IGNORED), matches)


def balanced(matches: Tensor, count: int, positive_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of at most `count * positive_share` positives and of negatives that fill up to `count`, drawn at random."""
    positives = torch.nonzero(matches >= 0).flatten()
    negatives = torch.nonzero(matches == BACKGROUND).flatten()
    kept = _draw(positives, int(count * positive_share), generator)
    return kept, _draw(negatives, count - len(kept), generator)


def _draw(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    # The permutation is drawn on the generator's own device (the CPU), so that every device samples alike.
    order = torch.randperm(len(rows), generator=generator)[:count]
    return rows[order.to(rows.device)]
