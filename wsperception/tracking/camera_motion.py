"""How the camera moved between two images, as a transform of the picture, with OpenCV."""

import cv2
import numpy as np

from wsperception.tracking.settings import CameraMotionSettings

STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""The transform of a camera that did not move."""
FEATURES = 200
FEWEST = 12
"""With fewer points that follow one motion the camera counts as still."""


class CameraMotion:
    """Remembers the previous image, shrunk and grey."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self._image_size: tuple[int, int] | None = None

    def measured(self, image: np.ndarray, settings: CameraMotionSettings) -> np.ndarray:
        """(2, 3) float64: maps pixels of the previous image to this one; STILL for the first, or where it fails.

        image  (H, W, 3) uint8 RGB

        Rotation, zoom and shift (flow) or rotation and shift (ecc): what a robot's camera does between two frames, and
        few enough numbers that a textureless scene gives no wild ones.
        """
        if settings.method == "off":
            self._previous = None
            return STILL
        scale = min(1.0, settings.width / image.shape[1])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        previous, self._previous = self._previous, grey
        if previous is None or previous.shape != grey.shape or self._image_size != image.shape[:2]:
            self._image_size = (image.shape[0], image.shape[1])
            return STILL
        transform = _flow(previous, grey) if settings.method == "flow" else _ecc(previous, grey)
        full = transform.copy()
        full[:, 2] /= scale
        return full


def _flow(previous: np.ndarray, grey: np.ndarray) -> np.ndarray:
    corners = cv2.goodFeaturesToTrack(previous, FEATURES, 0.01, 8)
    if corners is None or len(corners) < FEWEST:
        return STILL
    moved, found, _ = cv2.calcOpticalFlowPyrLK(previous, grey, corners, None)  # type: ignore[call-overload]
    kept = found.ravel() == 1
    if kept.sum() < FEWEST:
        return STILL
    transform, inliers = cv2.estimateAffinePartial2D(corners[kept], moved[kept], ransacReprojThreshold=1.5)
    if transform is None or inliers.sum() < FEWEST or not np.isfinite(transform).all():
        return STILL
    return np.asarray(transform, np.float64)


def _ecc(previous: np.ndarray, grey: np.ndarray) -> np.ndarray:
    start = STILL.astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, transform = cv2.findTransformECC(previous, grey, start, cv2.MOTION_EUCLIDEAN, criteria)
    except cv2.error:  # it did not converge, or the image has no texture
        return STILL
    return np.asarray(transform, np.float64)
