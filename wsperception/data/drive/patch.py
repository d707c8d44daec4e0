"""Painted pieces of an image: a few polygons in 3-D become a small RGBA patch, and patches become the picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.canvas import Window
from wsperception.data.drive.world import Camera, Pose, cut_near, project

SHIFT = 4
"""Fractional bits of the polygon corners handed to OpenCV."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A piece of the picture.

    left, top  pixel of the patch's first corner; the patch lies inside the image
    rgba       (h, w, 4) uint8; alpha 255 = opaque; colours are multiplied by alpha already
    extent     (4,) float32 x0 y0 x1 y1 of the whole thing, which may reach beyond the image
    """

    left: int
    top: int
    rgba: np.ndarray
    extent: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool: pixels the thing owns."""
        return self.rgba[..., 3] >= 128


Polygon = tuple[np.ndarray, np.ndarray]
"""(K, 3) camera coordinates and (3,) colour, 0 to 255."""


def draw(polygons: list[Polygon], texture: np.ndarray, camera: Camera, pose: Pose) -> Patch | None:
    """The polygons, first to last, on one patch; None where nothing of them is in the image.

    texture  (t, t) uint8, 128 = unchanged: multiplied on the patch, stretched over the whole extent
    """
    outlines, colours = [], []
    for corners, colour in polygons:
        kept = cut_near(corners)
        if len(kept) >= 3:
            outlines.append(project(kept, camera, pose))
            colours.append(colour)
    if not outlines:
        return None
    everything = np.concatenate(outlines)
    low, high = everything.min(axis=0), everything.max(axis=0)
    height, width = camera.size
    left, top = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    right, bottom = min(width, math.ceil(high[0])), min(height, math.ceil(high[1]))
    if right <= left or bottom <= top:
        return None
    extent = np.concatenate([low, high]).astype(np.float32)
    fine = _supersampling(max(right - left, bottom - top))
    canvas = np.zeros(((bottom - top) * fine, (right - left) * fine, 4), np.uint8)
    for outline, colour in zip(outlines, colours, strict=True):
        # OpenCV puts pixel centres at whole numbers, the project at halves.
        local = ((outline - (left, top)) * fine - 0.5) * (1 << SHIFT)
        corners = np.clip(np.rint(local), -(2**28), 2**28).astype(np.int32)
        shade = (float(colour[0]), float(colour[1]), float(colour[2]), 255.0)
        cv2.fillPoly(canvas, [corners], shade, cv2.LINE_8, SHIFT)
    if fine > 1:
        canvas = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    _multiply_texture(canvas, texture, extent, left, top)
    return Patch(left, top, canvas, extent)


def _supersampling(side: int) -> int:
    if side < 100:
        return 3
    return 2 if side < 240 else 1


def _multiply_texture(canvas: np.ndarray, texture: np.ndarray, extent: np.ndarray, left: int, top: int) -> None:
    height, width = canvas.shape[:2]
    scale_x = texture.shape[1] / max(extent[2] - extent[0], 1.0)
    scale_y = texture.shape[0] / max(extent[3] - extent[1], 1.0)
    matrix = np.array([[scale_x, 0, (left - extent[0]) * scale_x], [0, scale_y, (top - extent[1]) * scale_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grain = cv2.warpAffine(texture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    colour = cv2.multiply(canvas[..., :3], cv2.merge([grain, grain, grain]), scale=1 / 128)
    # A bright grain must not lift a half-transparent edge above its own alpha.
    canvas[..., :3] = np.minimum(colour, canvas[..., 3:])


def blend(image: np.ndarray, patch: Patch, haze: float, haze_colour: tuple[float, ...]) -> Window:
    """Paints the patch into the (H, W, 3) image, faded towards the haze; returns its rows and columns."""
    height, width = patch.rgba.shape[:2]
    where = (slice(patch.top, patch.top + height), slice(patch.left, patch.left + width))
    colour = np.ascontiguousarray(patch.rgba[..., :3])
    alpha = np.ascontiguousarray(patch.rgba[..., 3])
    alpha3 = cv2.merge([alpha, alpha, alpha])
    if haze > 0.01:
        fog = cv2.multiply(alpha3, np.array([*haze_colour, 0.0]) / 255)
        colour = cv2.addWeighted(colour, 1.0 - haze, fog, haze, 0.0)
    behind = cv2.multiply(np.ascontiguousarray(image[where]), cv2.bitwise_not(alpha3), scale=1 / 255)
    image[where] = cv2.add(behind, colour)
    return where
