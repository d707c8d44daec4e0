"""Segment proposals as training samples carry them: sets of superpixels."""

from dataclasses import dataclass

import numpy as np

OUTSIDE = 65535
"""Superpixel of a pixel that no image covers."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Class-agnostic segments of one image, the likeliest object first.

    superpixels  (h, w) uint16    superpixel of every pixel, below S; OUTSIDE where there is no image
    membership   (S, P) bool      which superpixels make up segment p
    objectness   (P,) float32     >= 0
    """

    superpixels: np.ndarray
    membership: np.ndarray
    objectness: np.ndarray

    def __len__(self) -> int:
        return len(self.objectness)

    def rows(self) -> np.ndarray:
        """(h, w) int64: row of `members` of every pixel."""
        rows: np.ndarray = np.minimum(self.superpixels.astype(np.int64), len(self.membership))
        return rows

    def members(self) -> np.ndarray:
        """(S + 1, P) bool: `membership` with a last row for the pixels outside, which no segment holds."""
        return np.concatenate([self.membership, np.zeros((1, len(self)), bool)])

    def mask(self, segment: int) -> np.ndarray:
        """(h, w) bool."""
        chosen: np.ndarray = np.append(self.membership[:, segment], False)[self.rows()]
        return chosen

    def holding(self, pixels: np.ndarray) -> np.ndarray:
        """(N, P) bool: which segments hold pixels (N, 2) int64 row, column."""
        held: np.ndarray = self.members()[self.rows()[pixels[:, 0], pixels[:, 1]]]
        return held
