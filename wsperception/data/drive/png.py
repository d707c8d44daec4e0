"""PNG bytes of a drive's pictures."""

import cv2
import numpy as np


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of (H, W, 3) uint8 BGR or (H, W) uint16."""
    # Level 1: noise does not compress, and higher levels only take time.
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return encoded.tobytes()
