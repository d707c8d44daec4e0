"""Pictures of a textured square that moves over a textured ground."""

import cv2
import numpy as np

SIZE = (120, 200)
"""(H, W) of the images."""
SHIFT = (9, 4)
"""x y that the square moves from frame to frame."""
SQUARE = (40, 30, 90, 70)
"""x0 y0 x1 y1 of the square in frame 0."""


def picture(step: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB of frame `step`."""
    random = np.random.default_rng(7)
    ground = cv2.GaussianBlur(random.integers(0, 120, (*SIZE, 3), np.uint8), (0, 0), 2)
    x0, y0, x1, y1 = SQUARE
    square = cv2.GaussianBlur(random.integers(60, 255, (y1 - y0, x1 - x0, 3), np.uint8), (0, 0), 1.5)
    x, y = x0 + step * SHIFT[0], y0 + step * SHIFT[1]
    ground[y : y + y1 - y0, x : x + x1 - x0] = square
    return ground
