"""The picture being painted, and what each of its pixels shows."""

from dataclasses import dataclass

import numpy as np

SEMANTICS = ("road", "pavement", "building", "vegetation", "sky", "object", "car", "pedestrian", "other vehicle")
"""Names of the values of a semantic map."""
SEMANTIC_NUMBER = {name: number for number, name in enumerate(SEMANTICS)}

Window = tuple[slice, slice]
"""Rows and columns of an image."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """Three pictures of one size, painted together.

    image     (H, W, 3) uint8
    semantic  (H, W) uint8     index into SEMANTICS
    rows      (H, W) uint16    0 = no actor, n = the n-th actor painted
    """

    image: np.ndarray
    semantic: np.ndarray
    rows: np.ndarray

    @staticmethod
    def of_size(height: int, width: int) -> "Canvas":
        """An empty canvas."""
        return Canvas(
            np.empty((height, width, 3), np.uint8),
            np.empty((height, width), np.uint8),
            np.zeros((height, width), np.uint16),
        )

    def claim(self, window: Window, mask: np.ndarray, semantic: str, row: int) -> None:
        """Says that the pixels of `mask`, in the window, now show actor `row` (0: scenery) of that semantic class."""
        self.rows[window][mask] = row
        self.semantic[window][mask] = SEMANTIC_NUMBER[semantic]
