"""Puts flat pictures into the image: sprites that face the camera, walls along the road."""

import math

import cv2
import numpy as np

from wsperception.data.drive.patch import Patch
from wsperception.data.drive.scenery import Front, Sprite
from wsperception.data.drive.world import Camera, Pose, project

NEAREST_SPRITE_M, NEAREST_WALL_M = 2.0, 1.2


def sprite_patch(sprite: Sprite, foot: np.ndarray, lit: float, camera: Camera, pose: Pose) -> Patch | None:
    """A sprite that stands at `foot`, (1, 3) camera coordinates, times the light; None where nothing of it is seen."""
    if foot[0, 2] < NEAREST_SPRITE_M:
        return None
    at = project(foot, camera, pose)[0]
    wide, tall = np.array(sprite.size) * camera.focal / foot[0, 2]
    height, width = camera.size
    left, right = max(0, math.floor(at[0] - wide / 2)), min(width, math.ceil(at[0] + wide / 2))
    top, bottom = max(0, math.floor(at[1] - tall)), min(height, math.ceil(at[1]))
    if right <= left or bottom <= top:
        return None
    picture = _level(sprite.levels, tall)
    scale_x, scale_y = picture.shape[1] / wide, picture.shape[0] / tall
    origin_x, origin_y = left + 0.5 - (at[0] - wide / 2), top + 0.5 - (at[1] - tall)
    matrix = np.array([[scale_x, 0, origin_x * scale_x - 0.5], [0, scale_y, origin_y * scale_y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    rgba = np.asarray(cv2.warpAffine(picture, matrix, (right - left, bottom - top), flags=flags))
    rgba[..., :3] = cv2.convertScaleAbs(np.ascontiguousarray(rgba[..., :3]), alpha=lit)
    np.minimum(rgba[..., :3], rgba[..., 3:], out=rgba[..., :3])
    extent = np.array([at[0] - wide / 2, at[1] - tall, at[0] + wide / 2, at[1]], np.float32)
    return Patch(left, top, rgba, extent)


def wall_patch(front: Front, ends: np.ndarray, camera: Camera, pose: Pose) -> Patch | None:
    """A wall between two foot points, (2, 3) camera coordinates, nearer first; None where nothing of it is seen.

    The patch's colours fill its whole rectangle; its alpha says which of them are wall.
    """
    near, far = ends
    if far[2] <= NEAREST_WALL_M:
        return None
    share = max(0.0, (NEAREST_WALL_M - near[2]) / (far[2] - near[2]))
    near = near + share * (far - near)
    up = np.array([0.0, front.size[1], 0.0])
    corners = project(np.stack([near - up, far - up, far, near]), camera, pose)  # from the near top, clockwise
    height, width = camera.size
    low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)), (width, height)).astype(int)
    if (high <= low).any():
        return None
    picture = _level(front.levels, 0.5 * (corners[3, 1] - corners[0, 1] + corners[2, 1] - corners[1, 1]))
    rows, columns = picture.shape[:2]
    source = np.array([[share * columns, 0], [columns, 0], [columns, rows], [share * columns, rows]], np.float32)
    target = corners - low
    matrix = cv2.getPerspectiveTransform(source, target.astype(np.float32))
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    colours = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(alpha, np.rint(np.clip(target, -30000, 30000)).astype(np.int32), (255.0,))
    extent = np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(np.float32)
    return Patch(int(low[0]), int(low[1]), np.dstack([colours, alpha]), extent)


def _level(levels: list[np.ndarray], tall: float) -> np.ndarray:
    """The picture whose height is nearest above `tall` pixels: a finer one would flicker."""
    level = math.log2(max(1.0, len(levels[0]) / max(tall, 1.0)))
    return levels[int(np.clip(level, 0, len(levels) - 1))]
