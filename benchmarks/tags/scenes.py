"""Small scenes for learning from tags: few large objects, and never everything in one picture.

Four kinds of things stand before two of four kinds of stuff. A thing has a patch that gives its class away, on a body
whose colour says less: a classifier may be content with the patch, a mask must not. Drives do not serve here: where
road and cars are in every frame, tags say nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.texture import clipped, jittered, noise, textured
from wsperception.geometry import tight_boxes

THINGS = ("drum", "hut", "plus", "wedge")
STUFF = ("sand", "water", "grass", "brick")
CLASSES = THINGS + STUFF
SIZE = 128

_BODIES = ((150, 90, 70), (90, 110, 150), (120, 120, 80), (110, 90, 130))
_PATCHES = ((230, 210, 60), (60, 60, 70), (200, 60, 50), (230, 230, 235))
_GROUNDS = ((170, 150, 110), (80, 120, 140), (90, 120, 60), (140, 100, 90))


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture and what is in it.

    image      (H, W, 3) uint8   RGB
    masks      (N, H, W) bool    visible pixels of each thing; disjoint
    class_ids  (N,) int64        into CLASSES
    semantic   (H, W) int64      class of every pixel, into CLASSES
    """

    image: np.ndarray
    masks: np.ndarray
    class_ids: np.ndarray
    semantic: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32 tight boxes, x0 y0 x1 y1 exclusive."""
        labels = np.zeros(self.semantic.shape, np.uint16)
        for row, mask in enumerate(self.masks, start=1):
            labels[mask] = row
        return tight_boxes(labels, len(self.masks) + 1)[1:]


def draw_scenes(count: int, seed: int) -> list[Scene]:
    """`count` scenes; the same seed gives the same ones."""
    return [_scene(np.random.default_rng((seed, number))) for number in range(count)]


def _scene(rng: np.random.Generator) -> Scene:
    upper, lower = rng.permutation(len(STUFF))[:2]
    image, horizon = np.empty((SIZE, SIZE, 3), np.float32), int(rng.integers(35, 90))
    semantic = np.full((SIZE, SIZE), len(THINGS) + upper, np.int64)
    image[:horizon] = _ground(rng, int(upper))[:horizon]
    image[horizon:] = _ground(rng, int(lower))[horizon:]
    semantic[horizon:] = len(THINGS) + lower
    masks: list[np.ndarray] = []
    classes: list[int] = []
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(len(THINGS)))
        whole, patch = _place(rng, kind)
        taken = np.any(masks, axis=0) if masks else np.zeros((SIZE, SIZE), bool)
        if (whole & taken).sum() > 0.1 * whole.sum():  # too much of it would be hidden
            continue
        seen = whole & ~taken
        image[seen] = textured(rng, SIZE, SIZE, jittered(_BODIES[kind], rng, 0.35), 0.12)[seen]
        pattern = textured(rng, SIZE, SIZE, jittered(_PATCHES[kind], rng, 0.1), 0.08)
        image[seen & patch] = pattern[seen & patch]
        masks.append(seen)
        classes.append(kind)
        semantic[seen] = kind
    blurred = cv2.GaussianBlur(image, (0, 0), 0.6) + rng.normal(0.0, 3.0, image.shape).astype(np.float32)
    return Scene(clipped(blurred), np.array(masks), np.array(classes, np.int64), semantic)


def _ground(rng: np.random.Generator, kind: int) -> np.ndarray:
    """(H, W, 3) float32."""
    surface = textured(rng, SIZE, SIZE, jittered(_GROUNDS[kind], rng, 0.2), 0.12)
    if STUFF[kind] == "water":  # wide waves
        surface *= 1.0 + 0.1 * np.sin(np.arange(SIZE)[:, None, None] / rng.uniform(1.5, 3.0))
    if STUFF[kind] == "brick":
        y, x = np.mgrid[:SIZE, :SIZE]
        surface[(y % 12 < 2) | ((x + 10 * (y // 12 % 2)) % 20 < 2)] *= 0.7
    return np.asarray(surface, np.float32)


def _place(rng: np.random.Generator, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """A thing's pixels (H, W) bool at a random place in a random size, and those of the patch that tells its class."""
    width, height = rng.uniform(36, 66), rng.uniform(36, 66)
    left, top = rng.uniform(2, SIZE - 2 - width), rng.uniform(2, SIZE - 2 - height)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    wave = 0.03 * noise(rng, SIZE, SIZE, 4)  # no two outlines are alike
    return _SHAPES[kind]((x - left) / width + wave, (y - top) / height + wave)


def _drum(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = (2 * x - 1) ** 2 + (2 * y - 1) ** 2 < 1
    return body, (abs(y - 0.3) < 0.12) & ((x * 8).astype(int) % 2 == 0)


def _hut(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = (x > 0) & (x < 1) & (y < 1) & (y > abs(x - 0.5) * 0.9)
    return body, (abs(x - 0.5) < 0.14) & (y > 0.6)


def _plus(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = (x > 0) & (x < 1) & (y > 0) & (y < 1)
    body = inside & ((abs(x - 0.5) < 0.22) | (abs(y - 0.5) < 0.22))
    return body, (abs(x - 0.5) < 0.14) & (abs(y - 0.5) < 0.14)


def _wedge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = (x > 0) & (y < 1) & (y > x * 0.85)
    return body, (x < 0.3) & (y > 0.62) & (((x + y) * 14).astype(int) % 2 == 0)


_SHAPES: tuple[Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], ...] = (_drum, _hut, _plus, _wedge)
