"""Paints what everything else stands on and before: sky, ground and shadows."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.canvas import SEMANTIC_NUMBER, Canvas
from wsperception.data.drive.ground import GROUND_HALF_M, GROUND_LENGTH_M, GROUND_M
from wsperception.data.drive.light import HAZE, Light
from wsperception.data.drive.street import Street
from wsperception.data.drive.traffic import Actor
from wsperception.data.drive.world import Camera, Pose, Road, cut_near, project

LEVEL_BLURS = (1, 17, 75)
"""Texels of ground averaged along the road, from near to far; far pixels cover metres of it but centimetres across."""
LEVEL_STARTS_M = (0.0, 14.0, 34.0, math.inf)
_GROUND_SEMANTIC = np.array([SEMANTIC_NUMBER[name] for name in ("road", "pavement", "vegetation")], np.uint8)
_SKY_SEMANTIC = np.array([SEMANTIC_NUMBER[name] for name in ("sky", "building", "vegetation")], np.uint8)


@dataclass(frozen=True, eq=False)
class Present:
    """An actor at one moment: world X and Z of the middle of its footprint, heading, depth before the camera."""

    actor: Actor
    x: float
    z: float
    heading: float
    depth: float


class Backdrop:
    """Sky and ground of one drive."""

    def __init__(self, road: Road, street: Street, light: Light, camera: Camera) -> None:
        self._road, self._street, self._light, self._camera = road, street, light, camera
        self._levels = [street.ground]
        self._levels.append(cv2.blur(street.ground, (1, LEVEL_BLURS[1]), borderType=cv2.BORDER_REPLICATE))
        self._levels.append(cv2.blur(street.ground, (1, LEVEL_BLURS[2])))

    def paint(self, canvas: Canvas, present: list[Present], pose: Pose) -> None:
        """Sky above the horizon, ground below, and the shadows of the actors on it."""
        camera = self._camera
        horizon = min(camera.size[0], max(0, round(camera.centre_y + pose.pitch * camera.focal)))
        self._paint_sky(canvas, pose, horizon)
        self._paint_ground(canvas, pose, horizon)
        self._paint_shadows(canvas.image, present, pose, horizon)

    def _paint_sky(self, canvas: Canvas, pose: Pose, horizon: int) -> None:
        width = self._camera.size[1]
        sky, kind = self._street.sky, self._street.sky_kind
        columns = np.arange(width) + round(width / 2 + pose.yaw * self._camera.focal)
        columns = np.mod(columns, sky.shape[1])
        rows = np.clip(np.arange(horizon) + len(sky) - horizon, 0, len(sky) - 1)
        canvas.image[:horizon] = sky[rows[:, None], columns]
        canvas.semantic[:horizon] = _SKY_SEMANTIC[kind[rows[:, None], columns]]

    def _paint_ground(self, canvas: Canvas, pose: Pose, horizon: int) -> None:
        camera, street = self._camera, self._street
        height, width = camera.size
        below = np.arange(horizon, height) + 0.5 - (camera.centre_y + pose.pitch * camera.focal)
        depth = (camera.focal * camera.height_m / np.maximum(below, 0.2)).astype(np.float32)[:, None]  # (h, 1)
        across = ((np.arange(width) + 0.5 - camera.centre_x) / camera.focal).astype(np.float32)[None] * depth  # (h, w)
        sine, cosine = np.float32(math.sin(pose.yaw)), np.float32(math.cos(pose.yaw))
        along = (np.float32(pose.z) + cosine * depth) - sine * across
        lateral = np.float32(pose.x) + sine * depth + cosine * across - self._road.centre(along)
        texel_row = np.mod(along, np.float32(GROUND_LENGTH_M)) * np.float32(1 / GROUND_M) - np.float32(0.5)
        columns = street.ground.shape[1]
        texel_column = np.clip((lateral + GROUND_HALF_M) * np.float32(1 / GROUND_M), 0, columns - 1)
        image = canvas.image[horizon:]
        for level, texture in enumerate(self._levels):
            rows = np.flatnonzero((depth[:, 0] >= LEVEL_STARTS_M[level]) & (depth[:, 0] < LEVEL_STARTS_M[level + 1]))
            if len(rows):
                span = slice(int(rows[0]), int(rows[-1]) + 1)
                maps = texel_column[span], texel_row[span]
                image[span] = cv2.remap(texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        canvas.semantic[horizon:] = _GROUND_SEMANTIC[street.ground_kind][texel_column.astype(np.int32)]
        self._fade(image, depth[:, 0])

    def _fade(self, image: np.ndarray, depth: np.ndarray) -> None:
        fog = (1 - np.exp(-depth / self._light.haze_m)).astype(np.float32)
        rows = np.flatnonzero(fog > 0.04)
        if len(rows):
            part = image[rows].astype(np.float32)
            part += (np.array(HAZE, np.float32) - part) * fog[rows, None, None]
            image[rows] = part.astype(np.uint8)

    def _paint_shadows(self, image: np.ndarray, present: list[Present], pose: Pose, horizon: int) -> None:
        mask = np.zeros((len(image) - horizon, image.shape[1]), np.uint8)
        dark = min(160.0, 50 + 260 * self._light.strength)
        for actor in present:
            points = pose.to_camera(self._shadow_corners(actor), self._camera)
            hull = cv2.convexHull(np.ascontiguousarray(points[:, [0, 2]], np.float32))[:, 0]
            outline = np.stack([hull[:, 0], np.full(len(hull), self._camera.height_m), hull[:, 1]], axis=1)
            kept = cut_near(outline)
            if len(kept) >= 3:
                pixels = project(kept, self._camera, pose) - (0, horizon)
                cv2.fillConvexPoly(mask, np.clip(pixels, -30000, 30000).astype(np.int32), (dark,))
        keep = cv2.bitwise_not(cv2.blur(mask, (5, 3)))
        ground = np.ascontiguousarray(image[horizon:])
        image[horizon:] = cv2.multiply(ground, cv2.merge([keep, keep, keep]), scale=1 / 255)

    def _shadow_corners(self, present: Present) -> np.ndarray:
        """(8, 3) world points: the footprint, and the footprint as far away as the sun throws the roof."""
        light = self._light
        length, width, height = present.actor.shape.size
        cast = 0.85 * height / math.tan(light.elevation) if light.strength > 0.15 else 0.0
        sine, cosine = math.sin(present.heading), math.cos(present.heading)
        corners = []
        for forward, right in ((0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5)):
            x = present.x + forward * length * sine + right * width * cosine
            z = present.z + forward * length * cosine - right * width * sine
            corners.append((x, 0.0, z))
            corners.append((x - cast * math.sin(light.azimuth), 0.0, z - cast * math.cos(light.azimuth)))
        return np.array(corners)
