"""Small scenes for learning from tags: few large objects, and never everything in one picture.

Four kinds of things stand before two of four kinds of stuff. A thing has a patch that gives its class away, on a body
of two colours that say less: a classifier may be content with the patch, a mask must not. Shadows with hard borders lie
over everything. So no outline can be had from colours alone, and segment proposals are parts of things, as on
photographs. Drives do not serve here: where road and cars are in every frame, tags say nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.texture import clipped, jittered, noise, textured
from wsperception.geometry import tight_boxes

THINGS = ("leaf", "dog", "plus", "tee")
STUFF = ("sand", "water", "grass", "brick")
CLASSES = THINGS + STUFF
SIZE = 128
SHADE = 0.55
"""Light of a shadow over that beside it."""

_BODIES = ((150, 80, 60), (80, 100, 160), (180, 180, 170), (110, 80, 140))
_COATS = ((94, 66, 46), (129, 128, 132), (117, 138, 142), (166, 136, 147))
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
    first, second = rng.permutation(len(STUFF))[:2].tolist()
    beyond = _beyond_border(rng)
    image = np.where(beyond[..., None], _ground(rng, second), _ground(rng, first))
    semantic = np.where(beyond, len(THINGS) + second, len(THINGS) + first)
    masks: list[np.ndarray] = []
    classes: list[int] = []
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(len(THINGS)))
        whole, patch = _place(rng, kind)
        taken = np.any(masks, axis=0) if masks else np.zeros((SIZE, SIZE), bool)
        if (whole & taken).sum() > 0.1 * whole.sum():  # too much of it would be hidden
            continue
        seen = whole & ~taken
        image[seen] = _body(rng, kind)[seen]
        pattern = textured(rng, SIZE, SIZE, jittered(_PATCHES[kind], rng, 0.1), 0.08)
        image[seen & patch] = pattern[seen & patch]
        masks.append(seen)
        classes.append(kind)
        semantic[seen] = kind
    image *= _light(rng)[..., None]
    blurred = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0.0, 3.0, image.shape).astype(np.float32)
    return Scene(clipped(blurred), np.array(masks), np.array(classes, np.int64), semantic)


def _beyond_border(rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool: one side of a winding border in any direction. Grounds are as full of their boxes as real ones."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y + 0.2 * noise(rng, SIZE, SIZE, 3)
    return np.asarray(along > np.quantile(along, rng.uniform(0.3, 0.7)))


def _ground(rng: np.random.Generator, kind: int) -> np.ndarray:
    """(H, W, 3) float32."""
    surface = textured(rng, SIZE, SIZE, jittered(_GROUNDS[kind], rng, 0.2), 0.12)
    if STUFF[kind] == "water":  # wide waves
        surface *= 1.0 + 0.1 * np.sin(np.arange(SIZE)[:, None, None] / rng.uniform(1.5, 3.0))
    if STUFF[kind] == "brick":
        y, x = np.mgrid[:SIZE, :SIZE]
        surface[(y % 12 < 2) | ((x + 10 * (y // 12 % 2)) % 20 < 2)] *= 0.7
    return np.asarray(surface, np.float32)


def _body(rng: np.random.Generator, kind: int) -> np.ndarray:
    """(H, W, 3) float32: the two colours of a kind of thing in blotches, of which a thing has a few."""
    first, second = (textured(rng, SIZE, SIZE, jittered(of[kind], rng, 0.2), 0.12) for of in (_BODIES, _COATS))
    field = noise(rng, SIZE, SIZE, 8)
    return np.asarray(np.where((field > np.median(field))[..., None], first, second), np.float32)


def _light(rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32: 1, and less in the shadows, which take two fifths of the picture."""
    field = noise(rng, SIZE, SIZE, 4)
    return np.where(field > np.quantile(field, 0.6), SHADE, 1.0).astype(np.float32)


def _place(rng: np.random.Generator, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """A thing's pixels (H, W) bool at a random place in a random size, and those of the patch that tells its class."""
    width, height = rng.uniform(44, 76), rng.uniform(44, 76)
    left, top = rng.uniform(2, SIZE - 2 - width), rng.uniform(2, SIZE - 2 - height)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    wave = 0.03 * noise(rng, SIZE, SIZE, 4)  # no two outlines are alike
    across = (x - left) / width
    return _SHAPES[kind]((across if rng.random() < 0.5 else 1 - across) + wave, (y - top) / height + wave)


def _leaf(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    along, aside = x + y - 1, x - y
    body = (along / 0.91) ** 2 + (aside / 0.41) ** 2 < 1
    return body, (abs(along) < 0.3) & (abs(aside) < 0.2) & ((along * 20).astype(int) % 2 == 0)


def _dog(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    trunk, head, legs = (y > 0.25) & (y < 0.62), (x < 0.24) & (y < 0.3), (abs(abs(x - 0.5) - 0.35) < 0.1) & (y > 0.5)
    body = _inside(x, y) & (trunk | head | legs)
    return body, (abs(x - 0.5) < 0.2) & (abs(y - 0.43) < 0.1) & ((x * 20).astype(int) % 2 == 0)


def _plus(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = _inside(x, y) & ((abs(x - 0.5) < 0.15) | (abs(y - 0.5) < 0.15))
    return body, (abs(x - 0.5) < 0.13) & (abs(y - 0.5) < 0.13)


def _tee(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = _inside(x, y) & ((y < 0.26) | (abs(x - 0.5) < 0.12))
    return body, (abs(y - 0.14) < 0.08) & (abs(x - 0.5) < 0.15) & (((x + y) * 20).astype(int) % 2 == 0)


def _inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x > 0) & (x < 1) & (y > 0) & (y < 1))


_SHAPES: tuple[Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], ...] = (_leaf, _dog, _plus, _tee)
