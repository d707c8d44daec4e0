"""Noise and colours. Objects and background draw from the same palette, so that colour alone finds no object."""

from dataclasses import dataclass

import cv2
import numpy as np

ASPHALT = ((82, 82, 86), (98, 96, 95), (112, 110, 106), (68, 69, 74))
PLASTER = ((205, 188, 160), (214, 204, 184), (176, 150, 118), (150, 92, 74), (190, 190, 186), (128, 124, 118))
LEAVES = ((58, 74, 38), (74, 88, 44), (48, 62, 42), (96, 100, 52))
ACCENTS = (
    (226, 226, 222),
    (34, 34, 38),
    (164, 167, 170),
    (44, 56, 92),
    (128, 40, 38),
    (58, 92, 96),
    (98, 72, 52),
    (120, 146, 172),
    (70, 76, 82),
    (180, 140, 62),
)
SKIN = ((206, 164, 136), (178, 130, 100), (128, 90, 68), (90, 62, 48))


@dataclass(frozen=True)
class Palette:
    """The colours of one drive, RGB 0 to 255.

    road, pavement, leaves, walls   background surfaces
    """

    road: tuple[float, ...]
    pavement: tuple[float, ...]
    leaves: tuple[tuple[float, ...], ...]
    walls: tuple[tuple[float, ...], ...]

    def glass(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) float: what a window shows, for cars and houses alike: the street, darkened."""
        leaf = np.asarray(self.leaves[rng.integers(len(self.leaves))], np.float64)
        share = rng.uniform(0.0, 0.6)
        base = share * leaf + (1 - share) * np.asarray(self.road, np.float64)
        return jittered(0.7 * base + np.array([6.0, 10.0, 15.0]), rng, 0.3)

    def any_colour(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) float: a colour for a car body, a coat, a door or an awning: what streets are made of, and accents."""
        choice = rng.random()
        if choice < 0.40:
            base = self.road if rng.random() < 0.6 else self.pavement
        elif choice < 0.66:
            base = self.walls[rng.integers(len(self.walls))]
        elif choice < 0.86:
            base = self.leaves[rng.integers(len(self.leaves))]
        else:
            base = ACCENTS[rng.integers(len(ACCENTS))]
        return jittered(base, rng, 0.22)


def draw_palette(rng: np.random.Generator) -> Palette:
    """A palette for one drive."""
    road = tuple(jittered(ASPHALT[rng.integers(len(ASPHALT))], rng, 0.12))
    pavement = tuple(jittered((142, 138, 130), rng, 0.15))
    leaves = tuple(tuple(jittered(colour, rng, 0.2)) for colour in LEAVES)
    order, accents = rng.permutation(len(PLASTER))[:5], rng.permutation(len(ACCENTS))[:3]
    pool = [PLASTER[i] for i in order] + [ACCENTS[i] for i in accents]
    walls = tuple(tuple(jittered(colour, rng, 0.15)) for colour in pool)
    return Palette(road, pavement, leaves, walls)


def jittered(colour: tuple[float, ...] | np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """(3,) float: the colour, lighter or darker by up to `amount` and a little shifted in hue."""
    gain = 1.0 + rng.uniform(-amount, amount) + rng.normal(0.0, 0.03, 3)
    return np.clip(np.asarray(colour, np.float64) * gain, 8.0, 245.0)


def noise(rng: np.random.Generator, height: int, width: int, cells: int, decay: float = 0.6) -> np.ndarray:
    """(H, W) float32 multi-scale noise, mean 0 and deviation 1.

    cells  side of the finest grain's grid along the shorter axis; coarser grains follow by factors of 2
    decay  amplitude of a grain relative to the next coarser one
    """
    total = np.zeros((height, width), np.float32)
    amplitude, count, short = 1.0, 2, min(height, width)
    while count <= cells:
        rows, columns = max(2, count * height // short), max(2, count * width // short)
        grid = rng.standard_normal((min(rows, height), min(columns, width)), np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        amplitude, count = amplitude * decay, count * 2
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)


def textured(
    rng: np.random.Generator, height: int, width: int, colour: tuple[float, ...] | np.ndarray, contrast: float
) -> np.ndarray:
    """(H, W, 3) float32 surface of a colour with multi-scale noise in lightness (relative deviation `contrast`)."""
    field = noise(rng, height, width, max(4, min(height, width) // 2), 0.75)
    return np.asarray(colour, np.float32) * (1.0 + contrast * field[..., None])


def clipped(field: np.ndarray) -> np.ndarray:
    """The field as uint8, cut to 0 to 255."""
    return np.asarray(np.clip(field, 0, 255), np.uint8)


def skin_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) float."""
    return jittered(SKIN[rng.integers(len(SKIN))], rng, 0.1)
