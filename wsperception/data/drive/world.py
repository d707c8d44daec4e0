"""The road, the ego car and the camera.

World frame: X to the right, Y up, Z forward along the road, metres; the ground is Y = 0. Angles are radians; 0 looks
along +Z, positive turns to the right.
"""

import math
from dataclasses import dataclass

import numpy as np

KITTI_SIZE = (375, 1242)
KITTI_FOCAL, KITTI_CENTRE_X, KITTI_CENTRE_Y = 721.5377, 609.5593, 172.854
CAMERA_HEIGHT_M = 1.65
NEAR_M = 0.6
"""Polygons are cut here: a point at depth 0 has no projection."""


@dataclass(frozen=True)
class Camera:
    """A pinhole of KITTI's colour camera, scaled to an image size. Units are pixels, but for `height_m`."""

    size: tuple[int, int]
    focal: float
    centre_x: float
    centre_y: float
    height_m: float = CAMERA_HEIGHT_M

    @staticmethod
    def of_size(height: int, width: int) -> "Camera":
        """KITTI's field of view across; the horizon at KITTI's share of the height."""
        scale = width / KITTI_SIZE[1]
        centre_y = KITTI_CENTRE_Y * height / KITTI_SIZE[0]
        return Camera((height, width), KITTI_FOCAL * scale, KITTI_CENTRE_X * scale, centre_y)

    def matrix(self) -> np.ndarray:
        """(3, 3) float64 intrinsics."""
        return np.array([[self.focal, 0, self.centre_x], [0, self.focal, self.centre_y], [0, 0, 1.0]])


@dataclass(frozen=True)
class Pose:
    """Where the camera is at one moment: metres, radians; `pitch` moves the horizon down by pitch * focal pixels."""

    x: float
    z: float
    yaw: float
    pitch: float

    def to_camera(self, points: np.ndarray, camera: Camera) -> np.ndarray:
        """(N, 3) world points X Y Z -> (N, 3) camera coordinates: right, down, depth (metres)."""
        sine, cosine = math.sin(self.yaw), math.cos(self.yaw)
        dx, dz = points[:, 0] - self.x, points[:, 2] - self.z
        return np.stack([cosine * dx - sine * dz, camera.height_m - points[:, 1], sine * dx + cosine * dz], axis=1)


def project(points: np.ndarray, camera: Camera, pose: Pose) -> np.ndarray:
    """(N, 3) camera coordinates with depth > 0 -> (N, 2) pixel coordinates x y."""
    scale = camera.focal / points[:, 2]
    horizon = camera.centre_y + pose.pitch * camera.focal
    return np.stack([points[:, 0] * scale + camera.centre_x, points[:, 1] * scale + horizon], axis=1)


def cut_near(polygon: np.ndarray) -> np.ndarray:
    """(K, 3) polygon in camera coordinates, cut at depth NEAR_M; K = 0 where nothing is left."""
    inside = polygon[:, 2] >= NEAR_M
    if inside.all():
        return polygon
    kept: list[np.ndarray] = []
    for index in range(len(polygon)):
        here, there = polygon[index], polygon[(index + 1) % len(polygon)]
        if inside[index]:
            kept.append(here)
        if inside[index] != inside[(index + 1) % len(polygon)]:
            share = (NEAR_M - here[2]) / (there[2] - here[2])
            kept.append(here + share * (there - here))
    return np.array(kept).reshape(-1, 3)


@dataclass(frozen=True)
class Road:
    """A winding road. Lateral offsets are metres from its centre line, along world X.

    half_width   m   from the centre to the kerb
    pavement     m   width of each pavement
    lanes        number of lanes on each side of the centre
    """

    amplitude: float
    wavelength: float
    phase: float
    half_width: float
    pavement: float
    lanes: int

    def centre(self, along: np.ndarray) -> np.ndarray:
        """X of the centre line at the given Z."""
        angle = (along * np.float32(2 * math.pi / self.wavelength)) + np.float32(self.phase)
        offset: np.ndarray = np.float32(self.amplitude) * np.sin(angle)
        return offset

    def centre_at(self, along: float) -> float:
        """X of the centre line at one Z; in float32 like `centre`, so that things stand where the ground is painted."""
        return float(self.centre(np.array(along, np.float32)))

    def heading(self, along: float) -> float:
        """Direction of the centre line at the given Z."""
        angle = 2 * math.pi * along / self.wavelength + self.phase
        return math.atan(self.amplitude * 2 * math.pi / self.wavelength * math.cos(angle))


@dataclass(frozen=True)
class Ego:
    """The car that carries the camera.

    speed         m/s, mean
    speed_swing   m/s, how much faster and slower it gets; at most `speed`
    swing_period  s
    swing_phase   radians
    lateral       m from the centre line, positive to the right
    bump_phase    radians, of the nodding and swaying on the road
    """

    speed: float
    speed_swing: float
    swing_period: float
    swing_phase: float
    lateral: float
    bump_phase: float

    def along(self, time_s: float) -> float:
        """Z at a time: the integral of speed + swing * sin(...), which never runs backwards (swing <= speed)."""
        rate = 2 * math.pi / self.swing_period
        swing = self.speed_swing / rate * (math.cos(self.swing_phase) - math.cos(rate * time_s + self.swing_phase))
        return self.speed * time_s + swing

    def pose(self, time_s: float, road: Road) -> Pose:
        """Where the camera is at a time."""
        along = self.along(time_s)
        shake = min(1.0, self.speed / 5.0)
        pitch = shake * 0.002 * (math.sin(7.3 * time_s + self.bump_phase) + 0.6 * math.sin(17.1 * time_s))
        sway = shake * 0.004 * math.sin(1.1 * time_s + self.bump_phase)
        x = road.centre_at(along) + self.lateral + 0.15 * shake * math.sin(0.5 * time_s)
        return Pose(x, along, road.heading(along) + sway, pitch)
