"""A drive as a stream of frames with exact masks and ids."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.light import draw_light, expose
from wsperception.data.drive.render import Painted, Painter
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.street import lay_out
from wsperception.data.drive.texture import draw_palette
from wsperception.data.drive.traffic import Actor, World, populate
from wsperception.data.drive.world import Camera, Pose, project

CAR, PEDESTRIAN, IGNORE = 1, 2, 10
"""Class numbers of MOTS."""
CLASS_NUMBERS = {"car": CAR, "pedestrian": PEDESTRIAN}
IGNORE_ID = 10000
"""What the ignore region is called in a map of object ids."""
MOST_OBJECTS = 999
"""Instances that `class * 1000 + instance` has room for; later ones join the ignore region."""
SMALLEST_AREA = 130.0
"""Visible pixels, at KITTI's width, below which an object joins the ignore region."""


@dataclass(frozen=True, eq=False)
class DriveFrame:
    """One frame of a drive.

    index         int                0, 1, ...
    stamp_ns      int                time since the start of the drive
    image         (H, W, 3) uint8    RGB
    object_ids    (H, W) uint16      class * 1000 + instance of each pixel; 0 background, IGNORE_ID ignore region
    semantic      (H, W) uint8       index into canvas.SEMANTICS
    ids           (N,) int32         the objects in `object_ids`, ascending, without the ignore region
    class_ids     (N,) int32         CAR or PEDESTRIAN
    boxes         (N, 4) float32     full extent of each inside the image, x0 y0 x1 y1 exclusive: hidden parts count
    visible       (N,) float32       share of the object's pixels in the image that nothing hides
    truncated     (N,) float32       share of the full extent outside the image
    ignore_boxes  (I, 4) float32     one per thing in the ignore region
    """

    index: int
    stamp_ns: int
    image: np.ndarray
    object_ids: np.ndarray
    semantic: np.ndarray
    ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray
    truncated: np.ndarray
    ignore_boxes: np.ndarray

    @property
    def ignore_mask(self) -> np.ndarray:
        """(H, W) bool: pixels that count neither for nor against (class 10)."""
        return np.asarray(self.object_ids == IGNORE_ID)


class Drive:
    """A drive: the same settings and sequence number give the same frames."""

    def __init__(self, settings: DriveSettings, sequence: int = 0) -> None:
        self.settings = settings
        self.sequence = sequence
        self.camera = Camera.of_size(settings.height, settings.width)

    def frames(self) -> Iterator[DriveFrame]:
        """The frames in order. Memory does not grow with their number."""
        settings = self.settings
        streams = [np.random.default_rng((settings.seed, self.sequence, part)) for part in range(5)]
        palette = draw_palette(streams[0])
        world = populate(settings, palette, streams[1])
        length_m = world.ego.along(settings.frames / settings.rate_hz)
        light = draw_light(streams[3])
        street = lay_out(world, palette, self.camera, length_m, light.shade, streams[2])
        painter = Painter(world, street, light, self.camera)
        names = _Names(world, settings.width / 1242, streams[4])
        # Streets differ in how far their annotator looked.
        far_m, tall_m = float(streams[4].uniform(32.0, 72.0)), float(streams[4].uniform(2.0, 4.5))
        breadth = float(streams[4].uniform(0.8, 2.2))
        for index in range(settings.frames):
            time_s = index / settings.rate_hz
            painted = painter.paint(time_s)
            grain = np.random.default_rng((settings.seed, self.sequence, 9, index))
            image = expose(painted.canvas.image, light, grain)
            zone = far_zone(world, world.ego.pose(time_s, world.road), self.camera, np.array([breadth, tall_m, far_m]))
            yield _frame(index, round(time_s * 1e9), image, painted, names, zone)


class _Names:
    """Gives each actor an id when it is first seen, and says who is too small to count."""

    def __init__(self, world: World, scale: float, rng: np.random.Generator) -> None:
        draws = rng.random(len(world.actors))
        self._smallest = {
            id(actor): scale * (_smallest_height(actor.kind, float(draw)))
            for actor, draw in zip(world.actors, draws, strict=True)
        }
        self._ids: dict[int, int] = {}
        self.smallest_area = SMALLEST_AREA * scale * scale

    def of(self, actor: Actor, height: float, area: int) -> int:
        """The object id, IGNORE_ID for what is of another class or too small."""
        number = CLASS_NUMBERS.get(actor.kind)
        if number is None or height < self._smallest[id(actor)] or area < self.smallest_area:
            return IGNORE_ID
        if id(actor) not in self._ids:
            if len(self._ids) >= MOST_OBJECTS:
                return IGNORE_ID
            # The classes share the instance numbers: label_02 gives the instance alone.
            self._ids[id(actor)] = number * 1000 + len(self._ids) + 1
        return self._ids[id(actor)]


def _smallest_height(kind: str, draw: float) -> float:
    """Pixels at KITTI's width. KITTI MOTS has one car in ten below 20 pixels, one pedestrian in ten below 39."""
    return 22.0 + 22.0 * draw if kind == "pedestrian" else 15.0 + 11.0 * draw


def far_zone(world: World, pose: Pose, camera: Camera, shape: np.ndarray) -> np.ndarray:
    """(4,) float32 x0 y0 x1 y1 of the far end of the street inside the image.

    shape  breadth as a multiple of the road's, height and distance in m

    Annotators of KITTI MOTS close the far end of the street with an ignore region; so do drives.
    """
    breadth, tall, distance = shape.tolist()
    along = pose.z + distance
    edge = breadth * world.road.half_width
    middle = world.road.centre_at(along)
    corners = np.array([[middle - edge, tall, along], [middle + edge, 0.0, along]])
    points = project(pose.to_camera(corners, camera), camera, pose)
    height, width = camera.size
    box = np.concatenate([np.floor(points[0]), np.ceil(points[1])])
    return np.asarray(np.clip(box, 0, (width, height, width, height)), np.float32)


def _frame(
    index: int, stamp_ns: int, image: np.ndarray, painted: Painted, names: _Names, zone: np.ndarray
) -> DriveFrame:
    rows = painted.canvas.rows
    height, width = rows.shape
    count = len(painted.actors)
    areas = np.bincount(rows.ravel(), minlength=count + 1)[1:]
    table = np.zeros(count + 1, np.uint16)
    for row, actor in enumerate(painted.actors):
        if areas[row]:
            tall = float(painted.extents[row, 3] - painted.extents[row, 1])
            table[row + 1] = names.of(actor, tall, int(areas[row]))
    object_ids = table[rows]
    x0, y0, x1, y1 = zone.astype(int).tolist()
    object_ids[y0:y1, x0:x1][object_ids[y0:y1, x0:x1] == 0] = IGNORE_ID
    _widen_ignore(object_ids)
    low = np.clip(np.floor(painted.extents[:, :2]), 0, (width, height))
    high = np.clip(np.ceil(painted.extents[:, 2:]), 0, (width, height))
    boxes = np.concatenate([low, high], axis=1).astype(np.float32)
    kept = np.flatnonzero((table[1:] > 0) & (table[1:] != IGNORE_ID))
    kept = kept[np.argsort(table[1:][kept])]
    ids = table[1:][kept].astype(np.int32)
    full = np.prod(np.maximum(painted.extents[:, 2:] - painted.extents[:, :2], 1e-6), axis=1)
    inside = np.prod(high - low, axis=1)
    return DriveFrame(
        index,
        stamp_ns,
        image,
        object_ids,
        painted.canvas.semantic,
        ids,
        ids // 1000,
        boxes[kept],
        (areas[kept] / np.maximum(painted.areas[kept], 1)).astype(np.float32),
        np.clip(1.0 - inside[kept] / full[kept], 0.0, 1.0).astype(np.float32),
        np.concatenate([boxes[np.flatnonzero(table[1:] == IGNORE_ID)], zone[None][: int((zone[2:] > zone[:2]).all())]]),
    )


def _widen_ignore(object_ids: np.ndarray) -> None:
    """Lets the ignore region reach 3 pixels into the background, as a hand-drawn one does."""
    ignore = (object_ids == IGNORE_ID).astype(np.uint8)
    if ignore.any():
        wide = cv2.dilate(ignore, np.ones((7, 7), np.uint8))
        object_ids[(wide > 0) & (object_ids == 0)] = IGNORE_ID
