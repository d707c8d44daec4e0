"""SegmentSet of an image as sets of superpixels, on the device of a network."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class SegmentSet:
    """SegmentSet of one image, as sets of superpixels.

    superpixels  (H, W) int64    superpixel of every pixel, below S
    membership   (S, P) bool     which superpixels make up segment p
    boxes        (P, 4) float32  tight boxes, x0 y0 x1 y1 exclusive, with an area
    """

    superpixels: Tensor
    membership: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return self.membership.shape[1]

    def select(self, rows: Tensor) -> "SegmentSet":
        """The segments at `rows` (indices or a Boolean mask), in that order."""
        return SegmentSet(self.superpixels, self.membership[:, rows], self.boxes[rows])

    def masks(self) -> Tensor:
        """(P, H, W) bool."""
        return self.membership.T[:, self.superpixels]
