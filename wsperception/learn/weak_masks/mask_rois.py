"""The positive RoIs of a batch, as everything that trains masks sees them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import roi_align

from wsperception.learn.weak_masks.pseudo_labels import cell_centres, inside_boxes
from wsperception.nets.perception_net import PerceptionNet


@dataclass(frozen=True, eq=False)
class Scene:
    """A batch of B frames on its way through the network, `clip_frames` consecutive ones to a clip.

    teacher  none, or one
    images   (B, h, w, 3) uint8
    boxes    per frame (N, 4)          the true boxes
    classes  per frame (N,) int64      index into the label space
    masks    per frame (N, h, w) bool  pseudo masks; N = 0 in each where there are none
    void     per frame (h, w) bool     what pseudo masks leave undecided
    """

    net: PerceptionNet
    teacher: tuple[PerceptionNet, ...]
    images: Tensor
    pyramid: list[Tensor]
    boxes: list[Tensor]
    classes: list[Tensor]
    masks: list[Tensor]
    void: list[Tensor]
    clip_frames: int

    def joined(self) -> tuple[Tensor, Tensor]:
        """All true boxes (N, 4) and the frame (N,) int64 of each."""
        counts = torch.tensor([len(part) for part in self.boxes], device=self.images.device)
        return torch.cat(self.boxes), torch.repeat_interleave(counts)

    def true_boxes(self, found: "MaskRois") -> Tensor:
        """The true box (P, 4) of each RoI."""
        return torch.cat(self.boxes)[found.true_rows(self.boxes)]


@dataclass(frozen=True, eq=False)
class MaskRois:
    """The positive RoIs of a batch as the mask branch sees them: P in all, frame after frame.

    boxes     (P, 4)
    extents   (P, 4)              of the mask grids
    frame_of  (P,) int64
    rows      per frame (P_b,)    the true box of its frame that each RoI is matched with
    classes   (P,) int64          index into the label space
    keys      (P,) int64          identity
    logits    (P, M, M) float32   of the mask of the true class
    """

    boxes: Tensor
    extents: Tensor
    frame_of: Tensor
    rows: list[Tensor]
    classes: Tensor
    keys: Tensor
    logits: Tensor

    @property
    def counts(self) -> list[int]:
        """RoIs per frame."""
        return [len(part) for part in self.rows]

    def first(self, count: int) -> "MaskRois":
        """At most `count` RoIs of each frame, which sampling has put in random order; 0: all."""
        if count == 0 or max(self.counts, default=0) <= count:
            return self
        rows = torch.cat([torch.arange(len(part), device=part.device) < count for part in self.rows])
        fields = (self.boxes, self.extents, self.frame_of, self.classes, self.keys, self.logits)
        boxes, extents, frame_of, classes, keys, logits = (field[rows] for field in fields)
        return MaskRois(boxes, extents, frame_of, [part[:count] for part in self.rows], classes, keys, logits)

    def true_rows(self, boxes: list[Tensor]) -> Tensor:
        """The row (P,) of each RoI's true box when the boxes of all frames are joined."""
        starts, start = [], 0
        for part in boxes:
            starts.append(start)
            start += len(part)
        return torch.cat([rows + start for rows, start in zip(self.rows, starts, strict=True)])


def mean_over_frames(values: Tensor, counts: list[int]) -> Tensor:
    """The mean over frames of the means of `values` (P,) inside a frame; a frame without RoIs adds 0."""
    parts = [part.mean() if len(part) else part.sum() for part in values.split(counts)]
    return torch.stack(parts).mean()


def inside_true_box(scene: Scene, found: MaskRois) -> Tensor:
    """Which cells (P, M, M) of each RoI's grid have their centre in its true box, bool."""
    centres = cell_centres(found.extents, found.logits.shape[-1])
    return inside_boxes(centres, scene.true_boxes(found)[:, None])[:, 0]


def track_pairs(found: MaskRois, truth: Tensor, clip_frames: int, frames: int) -> tuple[Tensor, Tensor, list[int]]:
    """Rows (Q,) and (Q,) of RoIs that show one object in two frames of a clip, clip by clip, and the pairs per clip.

    truth   (P, 4)   the RoIs' true boxes
    frames  B, of the batch

    Of several RoIs of an object in a frame the one nearest to its true box is taken, the first of equal ones.
    """
    frame, clip = found.frame_of, found.frame_of // clip_frames
    index = torch.arange(len(frame), device=frame.device)
    same = found.keys[:, None] == found.keys[None]
    overlap = row_iou(found.boxes, truth)[None].expand(len(frame), -1)
    rivals = overlap.masked_fill(~(same & (frame[:, None] == frame[None])), -1.0)
    best = rivals.argmax(dim=1) == index if len(frame) else index > 0
    paired = same & (clip[:, None] == clip[None]) & (frame[:, None] < frame[None]) & best[:, None] & best[None]
    first, second = torch.nonzero(paired, as_tuple=True)
    counts = torch.bincount(clip[first], minlength=frames // clip_frames)
    return first, second, counts.tolist()


def row_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N,) of boxes (N, 4) row by row; 0 where both are empty."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    return shared / (_areas(a) + _areas(b) - shared).clamp(min=1e-9)


def image_crops(images: Tensor, found: MaskRois, side: int) -> Tensor:
    """What images (B, h, w, 3) uint8 show under each RoI's grid: (P, 3, side, side) float32 RGB, 0 to 255."""
    if len(found.extents) == 0:
        return found.extents.new_zeros((0, 3, side, side))
    indexed = torch.cat([found.frame_of[:, None].to(found.extents.dtype), found.extents], dim=1)
    crops: Tensor = roi_align(images.permute(0, 3, 1, 2).float(), indexed, (side, side), 1.0, 1, True)
    return crops


def mask_area_share(found: MaskRois) -> Tensor:
    """Sum over the RoIs of mask area over box area, and their number: (2,). Near 1 the masks fill their boxes, near 0
    they are empty: the two collapses of L_CRF."""
    grid, box = _areas(found.extents), _areas(found.boxes)
    shares = (found.logits.detach() > 0).float().mean(dim=(1, 2)) * grid / box.clamp(min=1e-6)
    return torch.stack([shares.sum(), shares.new_tensor(len(shares))])


def mean_share(cells: Tensor) -> Tensor:
    """Sum over RoIs of the share of their cells (P, M, M) that are true, and the number of RoIs: (2,)."""
    shares = cells.float().mean(dim=(1, 2))
    return torch.stack([shares.sum(), shares.new_tensor(len(shares))])


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
