"""Pedestrians and cyclists: head, torso, swinging arms and legs."""

import math
from dataclasses import dataclass

import numpy as np

from wsperception.data.drive.patch import Polygon
from wsperception.data.drive.texture import Palette, jittered, noise, skin_colour

# Joints as shares of the body height.
HIP, KNEE, SHOULDER, NECK, HEAD = 0.50, 0.27, 0.80, 0.84, 0.925


@dataclass(frozen=True, eq=False)
class Figure:
    """A person.

    height   m
    stride   radians of leg swing; 0 stands
    pace     radians per second of the gait
    build    width relative to a slim adult
    cycling  on a bicycle
    colours  part -> (3,) colour
    extras   names of what is carried or worn: skirt, bag, backpack, hat, coat
    texture  (64, 64) uint8, 128 = unchanged
    """

    height: float
    stride: float
    pace: float
    phase: float
    build: float
    cycling: bool
    colours: dict[str, np.ndarray]
    extras: frozenset[str]
    texture: np.ndarray

    @property
    def size(self) -> tuple[float, float, float]:
        """Length, width, height in m."""
        return (1.7 if self.cycling else 0.5, 0.5, self.height)

    def polygons(self, to_camera: np.ndarray, offset: np.ndarray, time_s: float, light: float) -> list[Polygon]:
        """What the camera sees, far to near; arguments as in CarShape.polygons, `light` a factor."""
        parts = self._parts(time_s)
        right_in_depth = float(to_camera[2, 1])  # > 0: the figure's right side is the far one
        parts.sort(key=lambda part: -part[0] * (1.0 if right_in_depth > 0 else -1.0))
        result: list[Polygon] = []
        for _, name, joints, radii in parts:
            spine = joints @ to_camera.T + offset
            shade = 0.86 if name.endswith("_far") else 1.0
            result.append((_sleeve(spine, radii), self.colours[name] * light * shade))
        return result

    def _parts(self, time_s: float) -> list[tuple[float, str, np.ndarray, np.ndarray]]:
        """(side order, colour name, (J, 3) joints forward right up, (J,) radii in m)."""
        tall, build = self.height, self.build
        angle = self.pace * time_s + self.phase
        bob = 0.012 * tall * abs(math.cos(angle)) if self.stride > 0 else 0.0
        seat = 0.18 if self.cycling else 0.0
        parts: list[tuple[float, str, np.ndarray, np.ndarray]] = []
        for side in (-1.0, 1.0):
            swing = self.stride * math.sin(angle + (0 if side > 0 else math.pi))
            parts.append(self._leg(side, swing, bob, seat))
            parts.append(self._shoe(parts[-1][2][-1], side))
            parts.extend(self._arm(side, -0.8 * swing, bob, seat))
        lean = 0.16 * tall if self.cycling else 0.02 * tall * (self.stride > 0)
        hip = np.array([0.0, 0.0, HIP * tall + bob + seat])
        chest = np.array([lean, 0.0, (SHOULDER - 0.05) * tall + bob + seat])
        neck = np.array([1.1 * lean, 0.0, NECK * tall + bob + seat])
        head = np.array([1.15 * lean + 0.01, 0.0, HEAD * tall + bob + seat])
        torso = np.array([0.088, 0.098, 0.112, 0.045]) * tall * build
        waist = 0.5 * (hip + chest)
        parts.append((0.0, "top", np.stack([hip, waist, chest, neck]), torso))
        if "coat" in self.extras or "skirt" in self.extras:
            hem = hip - (0, 0, (0.2 if "coat" in self.extras else 0.16) * tall)
            name = "top" if "coat" in self.extras else "legs"
            parts.append((-0.01, name, np.stack([hip, hem]), np.array([0.088, 0.125]) * tall * build))
        if "backpack" in self.extras:
            middle = chest - (0.13 * tall, 0, 0.06 * tall)
            ends = np.stack([middle - (0, 0, 0.08 * tall), middle + (0, 0, 0.07 * tall)])
            parts.append((0.02, "bag", ends, np.array([0.075, 0.07]) * tall))
        parts.append((0.0, "skin", np.stack([neck, head]), np.array([0.026, 0.03]) * tall))
        parts.append(
            (
                0.0,
                "hair",
                np.stack([head - (0.006, 0, -0.02), head + (0, 0, 0.022 * tall)]),
                np.array([0.044, 0.04]) * tall,
            )
        )
        parts.append(
            (
                0.0,
                "skin",
                np.stack([head + (0.014 * tall, 0, 0.006), head + (0.010 * tall, 0, -0.035 * tall)]),
                np.array([0.036, 0.03]) * tall,
            )
        )
        if self.cycling:
            parts.extend(_bicycle(angle))
        return parts

    def _leg(self, side: float, swing: float, bob: float, seat: float) -> tuple[float, str, np.ndarray, np.ndarray]:
        tall = self.height
        hip = np.array([0.0, side * 0.048 * tall * self.build, HIP * tall + bob + seat])
        thigh, shin = (HIP - KNEE) * tall, (KNEE - 0.035) * tall
        bend = swing + (0.9 if self.cycling else 0.0)
        knee = hip + thigh * np.array([math.sin(bend), 0.0, -math.cos(bend)])
        # The knee only bends backwards: most while the leg comes forward.
        lower = bend - (0.9 if self.cycling else 0.55 * max(0.0, -swing) + 0.12 * abs(swing))
        ankle = knee + shin * np.array([math.sin(lower), 0.0, -math.cos(lower)])
        radii = np.array([0.062, 0.04, 0.028]) * tall * self.build
        return (side * 0.2, "legs", np.stack([hip, knee, ankle]), radii)

    def _shoe(self, ankle: np.ndarray, side: float) -> tuple[float, str, np.ndarray, np.ndarray]:
        tall = self.height
        toe = np.stack([ankle + (-0.02, 0, -0.02 * tall), ankle + (0.10 * tall, 0, -0.026 * tall)])
        return (side * 0.21, "shoes", toe, np.array([0.024, 0.018]) * tall)

    def _arm(
        self, side: float, swing: float, bob: float, seat: float
    ) -> list[tuple[float, str, np.ndarray, np.ndarray]]:
        tall = self.height
        forward = 0.16 * tall if self.cycling else 0.0
        out = side * 0.118 * tall * self.build
        shoulder = np.array([forward, out, (SHOULDER - 0.01) * tall + bob + seat])
        reach = swing + (1.0 if self.cycling else 0.0)
        elbow = shoulder + 0.17 * tall * np.array([math.sin(reach), 0.12 * side, -math.cos(reach)])
        fore = reach + 0.35
        hand = elbow + 0.155 * tall * np.array([math.sin(fore), 0.0, -math.cos(fore)])
        radii = np.array([0.036, 0.028, 0.02]) * tall * self.build
        arm = (side * 0.3, "top", np.stack([shoulder, elbow, hand]), radii)
        palm = (side * 0.31, "skin", np.stack([hand, hand - (0, 0, 0.03 * tall)]), np.array([0.02, 0.018]) * tall)
        parts = [arm, palm]
        if "bag" in self.extras and side > 0:
            low = hand - (0, 0, 0.2 * tall)
            parts.append(
                (side * 0.32, "bag", np.stack([hand - (0, 0, 0.06 * tall), low]), np.array([0.05, 0.085]) * tall)
            )
        return parts


def draw_figure(rng: np.random.Generator, palette: Palette, speed: float, cycling: bool = False) -> Figure:
    """A random person who moves at `speed` m/s."""
    height = float(np.clip(rng.normal(1.72, 0.10), 1.15, 2.0))
    extras = {
        name
        for name, share in (("skirt", 0.1), ("bag", 0.25), ("backpack", 0.2), ("coat", 0.2))
        if rng.random() < share
    }
    legs = palette.any_colour(rng) * 0.8
    colours = {
        "top": palette.any_colour(rng),
        "legs": legs,
        "shoes": jittered((52, 46, 42), rng, 0.5),
        "skin": skin_colour(rng),
        "hair": jittered(((44, 36, 30), (98, 74, 50), (150, 140, 126))[rng.choice(3, p=[0.5, 0.3, 0.2])], rng, 0.3),
        "bag": palette.any_colour(rng),
        "bicycle": jittered((60, 62, 66), rng, 0.4),
    }
    moving = speed > 0.2
    stride = rng.uniform(0.30, 0.46) if moving else 0.0
    pace = 0.0 if not moving else 2 * math.pi * speed / (4 * 0.48 * height * math.sin(stride))
    field = noise(rng, 64, 64, 32, 0.8) * rng.uniform(0.08, 0.2)
    if rng.random() < 0.25:
        field = field + 0.2 * np.sign(np.sin(np.arange(64) * rng.uniform(0.6, 2.0)))[:, None]
    texture = np.clip(128 * (1 + field), 40, 230).astype(np.uint8)
    phase, build = float(rng.uniform(0, 6.28)), float(rng.uniform(0.98, 1.35))
    return Figure(height, stride, pace, phase, build, cycling, colours, frozenset(extras), texture)


def _sleeve(spine: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(K, 3) outline of a tapered tube around (J, 3) camera points, flat towards the camera, with rounded ends."""
    steps = spine[1:, :2] / spine[1:, 2:] - spine[:-1, :2] / spine[:-1, 2:]
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    steps = np.where(lengths > 1e-9, steps / np.maximum(lengths, 1e-9), (0.0, 1.0))
    along = np.concatenate([steps[:1], 0.5 * (steps[1:] + steps[:-1]), steps[-1:]])
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0], np.zeros(len(along))], axis=1) * radii[:, None]
    forward = np.concatenate([along, np.zeros((len(along), 1))], axis=1)
    angles = np.linspace(0, math.pi, 5)[1:-1]
    start = [spine[0] + math.cos(a) * -across[0] - math.sin(a) * radii[0] * forward[0] for a in angles]
    stop = [spine[-1] + math.cos(a) * across[-1] + math.sin(a) * radii[-1] * forward[-1] for a in angles]
    return np.concatenate([spine + across, np.array(stop), (spine - across)[::-1], np.array(start)])


def _bicycle(angle: float) -> list[tuple[float, str, np.ndarray, np.ndarray]]:
    parts: list[tuple[float, str, np.ndarray, np.ndarray]] = []
    turn = np.linspace(0, 2 * math.pi, 13)
    for x in (-0.5, 0.55):
        ring = np.stack([x + 0.32 * np.cos(turn), np.zeros(13), 0.33 + 0.32 * np.sin(turn)], axis=1)
        parts.extend((0.05, "bicycle", ring[i : i + 2], np.array([0.02, 0.02])) for i in range(12))
    frame = [(-0.5, 0.33), (-0.1, 0.95), (0.4, 0.85), (0.55, 0.33), (0.4, 0.85), (0.0, 0.33), (-0.1, 0.95)]
    joints = np.array([(x, 0.0, up) for x, up in frame])
    parts.extend((0.04, "bicycle", joints[i : i + 2], np.array([0.022, 0.022])) for i in range(len(joints) - 1))
    return parts
