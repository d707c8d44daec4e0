"""Drives whose silhouettes, ids and motion are real: masks of a MOTS text, filled with synthetic texture."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from wsperception.data.drive.canvas import Canvas
from wsperception.data.drive.figures import Figure, draw_figure
from wsperception.data.drive.light import draw_light, expose
from wsperception.data.drive.patch import draw
from wsperception.data.drive.render import Painter
from wsperception.data.drive.sequence import CAR, IGNORE, IGNORE_ID, PEDESTRIAN, DriveFrame
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.shapes import CarShape, draw_car
from wsperception.data.drive.street import lay_out
from wsperception.data.drive.texture import Palette, draw_palette
from wsperception.data.drive.traffic import populate
from wsperception.data.drive.world import Camera, Pose
from wsperception.data.mots import MotsObject, read_mots
from wsperception.errors import InputError
from wsperception.rle import decode

_VIEWS = 7
"""Directions from which a car is painted, end on to broadside."""


class SilhouetteDrive:
    """A drive with the masks of a MOTS text; frames without a line are empty street.

    Length and image size are the text's. Every object gets a body of its class, drawn anew per seed and stretched to
    the box of its mask, which then cuts it out: outline, id and motion stay exact, to the pixel.
    """

    def __init__(self, settings: DriveSettings, path: Path, sequence: int = 0) -> None:
        self._source = read_mots(path)
        if not self._source.objects:
            raise InputError(f"{path}: expected at least one object, found none")
        for entry in self._source.objects:
            if entry.class_id not in (CAR, PEDESTRIAN, IGNORE):
                raise InputError(
                    f"{path}: frame {entry.frame}: expected class {CAR}, {PEDESTRIAN} or {IGNORE}, got {entry.class_id}"
                )
            if entry.class_id != IGNORE and entry.track_id // 1000 != entry.class_id:
                raise InputError(
                    f"{path}: frame {entry.frame}: expected ids of class * 1000 + instance, as in KITTI MOTS, got id "
                    f"{entry.track_id} of class {entry.class_id}"
                )
        height, width = self._source.objects[0].size
        frames = self._source.last_frame + 1
        self.settings = dataclasses.replace(settings, frames=frames, height=height, width=width)
        self.sequence = sequence
        self.camera = Camera.of_size(height, width)

    def frames(self) -> Iterator[DriveFrame]:
        """The frames in order; `boxes` are the tight boxes of the masks, for nothing more is known."""
        settings = self.settings
        streams = [np.random.default_rng((settings.seed, self.sequence, part)) for part in range(5)]
        palette = draw_palette(streams[0])
        world = populate(settings, palette, streams[1])
        world = dataclasses.replace(world, actors=[])
        length_m = world.ego.along(settings.frames / settings.rate_hz)
        light = draw_light(streams[3])
        street = lay_out(world, palette, self.camera, length_m, light.shade, streams[2])
        painter = Painter(world, street, light, self.camera)
        bodies: dict[int, _Body] = {}
        by_frame = self._source.by_frame()
        for index in range(settings.frames):
            time_s = index / settings.rate_hz
            canvas = painter.paint(time_s).canvas
            rng = np.random.default_rng((settings.seed, self.sequence, 9, index))
            ids = np.zeros(canvas.rows.shape, np.uint16)
            for entry in by_frame.get(index, []):
                if entry.track_id not in bodies:
                    key = np.random.default_rng((settings.seed, self.sequence, 8, entry.track_id))
                    bodies[entry.track_id] = _Body(entry.class_id, palette, key)
                _fill(canvas, ids, entry, bodies[entry.track_id], time_s)
            image = expose(canvas.image, light, rng)
            yield _frame(index, round(time_s * 1e9), image, ids, canvas.semantic)


class _Body:
    """What one object looks like, from any side; its colours never change."""

    def __init__(self, class_id: int, palette: Palette, rng: np.random.Generator) -> None:
        self._shape = draw_car(rng, palette) if class_id == CAR else draw_figure(rng, palette, 1.3)
        self._away = bool(rng.random() < 0.6)
        self._side = 1.0 if rng.random() < 0.5 else -1.0
        self._views: dict[int, np.ndarray] = {}

    def picture(self, height: int, width: int, time_s: float) -> np.ndarray:
        """(height, width, 3) uint8: the body stretched to that size, without holes."""
        if isinstance(self._shape, CarShape):
            # Broadside a car is nearly three times as wide as tall, end on about 1.2 times.
            share = min(1.0, max(0.0, (width / max(height, 1) - 1.2) / 1.6))
            step = round(share * (_VIEWS - 1))
            turn = 0.5 * math.pi * step / (_VIEWS - 1) * self._side + (0.0 if self._away else math.pi)
            moment = 0.0
        else:
            step, turn = round(time_s * 10) % 12, 1.1 * self._side
            moment = step / 10
        if step not in self._views:
            self._views[step] = _view(self._shape, turn, moment)
        view = self._views[step]
        shrink = height * width < view.shape[0] * view.shape[1]
        way = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(view, (width, height), interpolation=way))


def _view(shape: CarShape | Figure, turn: float, time_s: float) -> np.ndarray:
    """(h, w, 3) uint8 picture of a body, cut to its extent; what it leaves free gets the nearest colour of it."""
    camera = Camera((500, 1000), 721.0, 500.0, 200.0)
    sine, cosine = math.sin(turn), math.cos(turn)
    rotation = np.array([[sine, cosine, 0.0], [0.0, 0.0, -1.0], [cosine, -sine, 0.0]])
    offset = np.array([0.0, camera.height_m, 9.0])
    if isinstance(shape, CarShape):
        polygons = shape.polygons(rotation, offset, np.array([-0.1, 0.1, 0.25]), 0.75)
    else:
        polygons = shape.polygons(rotation, offset, time_s, 0.9)
    patch = draw(polygons, shape.texture, camera, Pose(0.0, 0.0, 0.0, 0.0))
    assert patch is not None
    free = (~patch.mask).astype(np.uint8)
    labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)[1]
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    colours[labels[patch.mask]] = patch.rgba[..., :3][patch.mask]
    return np.asarray(colours[labels])


def _fill(canvas: Canvas, ids: np.ndarray, entry: MotsObject, body: _Body, time_s: float) -> None:
    mask = decode(entry.counts, entry.size)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return
    where = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = mask[where]
    ids[where][inside] = IGNORE_ID if entry.class_id == IGNORE else entry.track_id
    if entry.class_id == IGNORE:
        # The ignore region is no object: it keeps the street's own texture.
        return
    canvas.image[where][inside] = body.picture(inside.shape[0], inside.shape[1], time_s)[inside]
    canvas.claim(where, inside, "car" if entry.class_id == CAR else "pedestrian", 0)


def _frame(index: int, stamp_ns: int, image: np.ndarray, ids: np.ndarray, semantic: np.ndarray) -> DriveFrame:
    numbers = np.unique(ids)
    numbers = numbers[(numbers > 0) & (numbers != IGNORE_ID)].astype(np.int32)
    boxes = np.array([_tight(ids == number) for number in numbers], np.float32).reshape(-1, 4)
    ignore = ids == IGNORE_ID
    ignore_boxes = np.array([_tight(ignore)] if ignore.any() else [], np.float32).reshape(-1, 4)
    count = len(numbers)
    return DriveFrame(
        index,
        stamp_ns,
        image,
        ids,
        semantic,
        numbers,
        numbers // 1000,
        boxes,
        np.ones(count, np.float32),
        np.zeros(count, np.float32),
        ignore_boxes,
    )


def _tight(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
