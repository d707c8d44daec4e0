"""The pictures the street is built from: house fronts, trees and street furniture."""

from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.texture import Palette, clipped, jittered, noise, textured

FRONT_M = 1 / 36
"""Size of a texel of a house front, m."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """A flat picture that stands on the ground and faces the camera.

    levels    (h, w, 4) uint8 pictures, each half the one before; colours multiplied by alpha
    size      width, height in m
    semantic  name of its semantic class
    """

    levels: list[np.ndarray]
    size: tuple[float, float]
    semantic: str


@dataclass(frozen=True, eq=False)
class Front:
    """A wall: (h, w, 3) uint8 pictures, each half the one before, and its width and height in m."""

    levels: list[np.ndarray]
    size: tuple[float, float]
    semantic: str


def halves(picture: np.ndarray, count: int) -> list[np.ndarray]:
    """The picture and up to `count` halvings of it."""
    levels = [np.ascontiguousarray(picture)]
    for _ in range(count):
        height, width = levels[-1].shape[:2]
        if min(height, width) < 8:
            break
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return levels


def draw_front(rng: np.random.Generator, palette: Palette) -> Front:
    """A house front with windows, doors, shop signs."""
    floors = int(rng.integers(2, 6))
    wide, tall = float(rng.uniform(9, 20)), 3.0 * floors + 0.8
    rows, columns = round(tall / FRONT_M), round(wide / FRONT_M)
    wall = palette.walls[rng.integers(len(palette.walls))]
    front = textured(rng, rows, columns, jittered(wall, rng, 0.1), 0.07)
    glass, frame = palette.glass(rng), jittered((206, 202, 194), rng, 0.15)
    step, share = float(rng.uniform(2.0, 3.4)), float(rng.uniform(0.35, 0.6))
    count = max(2, int(wide / step))
    shutters = palette.any_colour(rng) if rng.random() < 0.35 else None
    floor_rows = round(3.0 / FRONT_M)
    for floor in range(1, floors):
        base = rows - floor * floor_rows
        for index in range(count):
            middle = round((index + 0.5) * columns / count)
            half = round(0.5 * share * columns / count)
            top, low = base - round(2.3 / FRONT_M), base - round(0.85 / FRONT_M)
            if shutters is not None:
                wing = half + round(0.35 / FRONT_M)
                front[top:low, max(0, middle - wing) : middle + wing] = shutters
            _window(front, rng, (middle - half, top, middle + half, low), glass, frame)
        if rng.random() < 0.3:
            front[base - 6 : base - 1] *= 0.78
    _ground_floor(front, rng, palette, glass, frame, floor_rows)
    front[: round(0.8 / FRONT_M)] = jittered(palette.walls[0], rng, 0.2) * 0.6
    front[round(0.8 / FRONT_M) : round(0.95 / FRONT_M)] *= 0.6
    return Front(halves(clipped(front), 5), (wide, tall), "building")


def _window(
    front: np.ndarray, rng: np.random.Generator, box: tuple[int, int, int, int], glass: np.ndarray, frame: np.ndarray
) -> None:
    left, top, right, low = box
    front[top - 3 : low + 3, max(0, left - 3) : right + 3] = frame
    shine = np.linspace(1.35, 0.75, low - top, dtype=np.float32)[:, None, None] * rng.uniform(0.7, 1.3)
    front[top:low, left:right] = np.float32(glass) * shine
    if rng.random() < 0.4:
        front[top : top + (low - top) // int(rng.integers(2, 4)), left:right] = frame * 0.85
    middle = (left + right) // 2
    front[top:low, middle - 1 : middle + 2] = frame
    front[low + 3 : low + 7, max(0, left - 5) : right + 5] *= 0.7


def _ground_floor(
    front: np.ndarray,
    rng: np.random.Generator,
    palette: Palette,
    glass: np.ndarray,
    frame: np.ndarray,
    floor_rows: int,
) -> None:
    rows, columns = front.shape[:2]
    base = rows - floor_rows
    left = 10
    shop = rng.random() < 0.45
    if shop:
        front[base : base + round(0.6 / FRONT_M)] = palette.any_colour(rng)
    while left < columns - 60:
        wide = int(rng.uniform(0.9, 2.8) / FRONT_M)
        right = min(columns - 8, left + wide)
        choice = rng.random()
        if shop and choice < 0.7:
            _window(front, rng, (left, base + 30, right, rows - 18), glass, frame)
        elif choice < 0.35:
            front[rows - round(2.1 / FRONT_M) :, left:right] = palette.any_colour(rng)
            front[rows - round(2.1 / FRONT_M) :, left : left + 3] *= 0.6
            front[rows - 40 : rows - 36, right - 9 : right - 5] = frame
        elif choice < 0.75:
            _window(front, rng, (left, base + 24, right, rows - 38), glass, frame)
        left = right + int(rng.uniform(0.5, 1.6) / FRONT_M)
    front[rows - 14 :] *= 0.72


def draw_low_wall(rng: np.random.Generator, palette: Palette) -> Front:
    """A hedge, wall or fence along the pavement."""
    wide, tall = 16.0, float(rng.uniform(1.0, 2.4))
    rows, columns = round(tall / FRONT_M), round(wide / FRONT_M)
    if rng.random() < 0.6:
        wall = textured(rng, rows, columns, palette.leaves[rng.integers(4)], 0.28)
        return Front(halves(clipped(wall), 5), (wide, tall), "vegetation")
    wall = textured(rng, rows, columns, palette.any_colour(rng), 0.10)
    wall[:, :: round(rng.uniform(0.2, 2.5) / FRONT_M)] *= 0.7
    wall[:5] *= 1.15
    return Front(halves(clipped(wall), 5), (wide, tall), "building")


def _sprite(colour: np.ndarray, alpha: np.ndarray, size: tuple[float, float], semantic: str) -> Sprite:
    opaque = np.clip(alpha, 0, 1).astype(np.float32)[..., None]
    rgba = np.concatenate([colour * opaque, 255 * opaque], axis=2)
    return Sprite(halves(clipped(rgba), 6), size, semantic)


def draw_tree(rng: np.random.Generator, palette: Palette) -> Sprite:
    """A tree with a ragged crown."""
    side = 320
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    crown_top, crown_low = 0.02, float(rng.uniform(0.62, 0.8))
    middle, half = 0.5 * (crown_top + crown_low), 0.5 * (crown_low - crown_top)
    fine, coarse = noise(rng, side, side, 160, 0.85), noise(rng, side, side, 12, 0.8)
    distance = ((x - 0.5) / 0.42) ** 2 + ((y - middle) / half) ** 2
    leaves = 1.0 - distance + 0.22 * coarse + 0.25 * fine
    crown = np.clip(leaves * 4, 0, 1)
    lit = 1.0 + 0.26 * fine + 0.2 * coarse + 0.35 * (middle - y) + 0.2 * (0.5 - x)
    colour = np.array(palette.leaves[rng.integers(4)], np.float32) * lit[..., None]
    trunk = (np.abs(x - 0.5 - 0.02 * np.sin(9 * y)) < 0.022) & (y > middle)
    wood = np.float32(jittered((78, 66, 54), rng, 0.2)) * (1 + 0.15 * fine[..., None])
    colour = np.where((trunk & (crown < 0.6))[..., None], wood, colour)
    tall = float(rng.uniform(5, 11))
    return _sprite(colour, np.maximum(crown, trunk), (tall * float(rng.uniform(0.6, 0.85)), tall), "vegetation")


def draw_bush(rng: np.random.Generator, palette: Palette) -> Sprite:
    """A bush: as large as a car and as green as some."""
    rows, columns = 128, 192
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    fine = noise(rng, rows, columns, 64, 0.85)
    distance = ((x / columns - 0.5) / 0.46) ** 2 + ((1 - y / rows) / 0.92) ** 2
    alpha = np.clip((1 - distance + 0.25 * fine) * 5, 0, 1)
    lit = 1.05 + 0.25 * fine - 0.4 * (y / rows - 0.5)
    colour = np.array(palette.leaves[rng.integers(4)], np.float32) * lit[..., None]
    return _sprite(colour, alpha, (float(rng.uniform(1.2, 4.0)), float(rng.uniform(0.8, 1.9))), "vegetation")


def draw_furniture(rng: np.random.Generator, palette: Palette) -> Sprite:
    """A lamp post, sign, bin, advertising column, cabinet, bollard or traffic light."""
    kind = str(rng.choice(["lamp", "sign", "bin", "column", "cabinet", "bollard", "light", "post"]))
    size = {
        "lamp": (1.6, 7.0), "sign": (0.75, 2.7), "bin": (0.7, 1.15), "column": (1.2, 2.9),
        "cabinet": (1.1, 1.4), "bollard": (0.22, 0.95), "light": (0.42, 3.2), "post": (0.35, 1.75),
    }[kind]  # fmt: skip
    per_m = 64 if size[1] < 4 else 40
    rows, columns = max(24, round(size[1] * per_m)), max(12, round(size[0] * per_m))
    canvas = np.zeros((rows, columns, 4), np.uint8)
    metal = (*jittered((92, 96, 98), rng, 0.35).tolist(), 255.0)
    colour = (*palette.any_colour(rng).tolist(), 255.0)
    middle = columns // 2
    if kind == "lamp":
        cv2.rectangle(canvas, (2, 12), (7, rows), metal, -1)
        cv2.rectangle(canvas, (2, 8), (columns - 4, 13), metal, -1)
        cv2.ellipse(canvas, (columns - 12, 13), (10, 5), 0, 0, 360, (212, 212, 204, 255), -1)
    elif kind in ("sign", "light"):
        cv2.rectangle(canvas, (middle - 2, 10), (middle + 2, rows), metal, -1)
        if kind == "sign":
            radius = columns // 2 - 2
            cv2.circle(canvas, (middle, radius + 2), radius, colour, -1)
            cv2.circle(canvas, (middle, radius + 2), round(0.72 * radius), (214, 212, 206, 255), -1)
        else:
            cv2.rectangle(canvas, (2, 2), (columns - 3, round(0.9 * per_m)), (34, 36, 36, 255), -1)
            for index, lamp in enumerate([(150, 40, 36), (150, 120, 50), (50, 120, 84)]):
                cv2.circle(canvas, (middle, round((0.17 + 0.28 * index) * per_m)), columns // 4, (*lamp, 255), -1)
    else:
        cv2.rectangle(canvas, (1, 4), (columns - 2, rows), colour, -1)
        if kind in ("bin", "post"):
            cv2.ellipse(canvas, (middle, columns // 3), (columns // 2 - 1, columns // 3), 0, 180, 360, colour, -1)
        if kind in ("column", "cabinet"):
            inner = (*palette.any_colour(rng).tolist(), 255.0)
            cv2.rectangle(canvas, (8, round(0.2 * rows)), (columns - 9, round(0.7 * rows)), inner, -1)
        if kind == "bin":
            cv2.rectangle(canvas, (1, columns // 3), (columns - 2, columns // 3 + 4), metal, -1)
    shade = np.linspace(1.12, 0.8, columns, dtype=np.float32)[None, :, None]
    grain = 1.0 + 0.09 * noise(rng, rows, columns, 32, 0.8)[..., None]
    picture = canvas[..., :3].astype(np.float32) * shade * grain
    return _sprite(picture, canvas[..., 3] / 255.0, size, "object")
