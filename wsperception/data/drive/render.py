"""Paints one frame: the backdrop, then everything that stands or moves, far to near."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.backdrop import Backdrop, Present
from wsperception.data.drive.canvas import Canvas
from wsperception.data.drive.light import HAZE, Light
from wsperception.data.drive.patch import Patch, blend, draw
from wsperception.data.drive.placing import sprite_patch, wall_patch
from wsperception.data.drive.shapes import CarShape
from wsperception.data.drive.street import Standing, Street, Wall
from wsperception.data.drive.traffic import RANGE_M, Actor, World
from wsperception.data.drive.world import NEAR_M, Camera, Pose

SEMANTIC_OF_KIND = {
    "car": "car",
    "pedestrian": "pedestrian",
    "vehicle": "other vehicle",
    "cyclist": "other vehicle",
}
BEHIND_M, BEYOND_M = 6.0, 25.0
"""How far behind the camera, and beyond RANGE_M, scenery is still looked at."""
LONGEST_WALL_M = 25.0


@dataclass(frozen=True, eq=False)
class Painted:
    """A painted frame before the lens and the sensor.

    canvas   image, semantic map and rows; row n shows actors[n - 1]
    actors   the actors in the image, far to near
    extents  (N, 4) float32   their full extent, which may leave the image
    areas    (N,) int64       pixels each would have in the image if nothing stood before it
    """

    canvas: Canvas
    actors: list[Actor]
    extents: np.ndarray
    areas: np.ndarray


class Painter:
    """Paints the frames of one drive. Holds what is the same in all of them; a frame depends on its time only."""

    def __init__(self, world: World, street: Street, light: Light, camera: Camera) -> None:
        self._world, self._street, self._light, self._camera = world, street, light, camera
        self._backdrop = Backdrop(world.road, street, light, camera)
        self._wall_stops = np.array([wall.stop for wall in street.walls])
        self._places = np.array([thing.along for thing in street.standing])

    def paint(self, time_s: float) -> Painted:
        """The frame at a time, seconds from the start."""
        pose = self._world.ego.pose(time_s, self._world.road)
        canvas = Canvas.of_size(*self._camera.size)
        present = self._present(time_s, pose)
        self._backdrop.paint(canvas, present, pose)
        actors: list[Actor] = []
        extents: list[np.ndarray] = []
        areas: list[int] = []
        for depth, thing in self._far_to_near(present, pose):
            haze = 1.0 - math.exp(-max(0.0, depth) / self._light.haze_m)
            if isinstance(thing, Wall):
                self._paint_wall(canvas, thing, pose, haze)
                continue
            patch = self._sprite(thing, pose) if isinstance(thing, Standing) else self._actor(thing, time_s, pose)
            if patch is None:
                continue
            window = blend(canvas.image, patch, haze, HAZE)
            if isinstance(thing, Standing):
                canvas.claim(window, patch.mask, thing.sprite.semantic, 0)
                continue
            actors.append(thing.actor)
            extents.append(patch.extent)
            areas.append(int(np.count_nonzero(patch.mask)))
            canvas.claim(window, patch.mask, SEMANTIC_OF_KIND[thing.actor.kind], len(actors))
        return Painted(canvas, actors, np.array(extents, np.float32).reshape(-1, 4), np.array(areas, np.int64))

    def _far_to_near(self, present: list[Present], pose: Pose) -> list[tuple[float, Present | Wall | Standing]]:
        """What may be in the image, with its depth. A wall counts by its far end: what stands before it is nearer."""
        street = self._street
        # A first cut along the road keeps the cost of a frame free of the length of the drive.
        low, high = pose.z - BEHIND_M - 20.0, pose.z + RANGE_M + BEYOND_M + 20.0
        walls = np.flatnonzero((self._wall_stops > low) & (self._wall_stops < high + LONGEST_WALL_M))
        places = slice(*np.searchsorted(self._places, (low, high)).tolist())
        things: list[tuple[float, Present | Wall | Standing]] = [(actor.depth, actor) for actor in present]
        for wall in (street.walls[index] for index in walls):
            things.append((self._depth(wall.stop, wall.lateral, pose), wall))
        for thing in street.standing[places]:
            things.append((self._depth(thing.along, thing.lateral, pose), thing))
        things = [entry for entry in things if -BEHIND_M < entry[0] < RANGE_M + BEYOND_M]
        return sorted(things, key=lambda entry: -entry[0])

    def _depth(self, along: float, lateral: float, pose: Pose) -> float:
        x = self._world.road.centre_at(along) + lateral
        return math.sin(pose.yaw) * (x - pose.x) + math.cos(pose.yaw) * (along - pose.z)

    def _present(self, time_s: float, pose: Pose) -> list[Present]:
        """The actors in front of the camera."""
        result = []
        for actor in self._world.actors:
            along, lateral = actor.position(time_s, self._world.ego)
            if not -8.0 < along - pose.z < RANGE_M:
                continue
            x = self._world.road.centre_at(along) + lateral
            heading = self._world.road.heading(along) + actor.heading
            result.append(Present(actor, x, along, heading, self._depth(along, lateral, pose)))
        return result

    def _actor(self, present: Present, time_s: float, pose: Pose) -> Patch | None:
        turn = present.heading - pose.yaw
        sine, cosine = math.sin(turn), math.cos(turn)
        rotation = np.array([[sine, cosine, 0.0], [0.0, 0.0, -1.0], [cosine, -sine, 0.0]])
        offset = pose.to_camera(np.array([[present.x, 0.0, present.z]]), self._camera)[0]
        shape, light = present.actor.shape, self._light
        if isinstance(shape, CarShape):
            if offset[2] < -0.5 * shape.size[0] + NEAR_M:
                return None
            sun = light.direction(present.heading) * light.strength
            polygons = shape.polygons(rotation, offset, sun, light.ambient)
        else:
            if offset[2] < 1.0:
                return None
            polygons = shape.polygons(rotation, offset, time_s, light.ambient + 0.6 * light.strength)
        return draw(polygons, shape.texture, self._camera, pose)

    def _paint_wall(self, canvas: Canvas, wall: Wall, pose: Pose, haze: float) -> None:
        road, light = self._world.road, self._light
        feet = np.array([[road.centre_at(z) + wall.lateral, 0.0, z] for z in (wall.start, wall.stop)])
        patch = wall_patch(wall.front, pose.to_camera(feet, self._camera), self._camera, pose)
        if patch is None:
            return
        facing = math.sin(light.azimuth) * -math.copysign(1.0, wall.lateral)
        lit = light.ambient + light.strength * max(0.0, facing)
        colours = np.ascontiguousarray(patch.rgba[..., :3])
        colours = cv2.convertScaleAbs(colours, alpha=lit * (1 - haze), beta=haze * HAZE[1])
        height, width = patch.mask.shape
        window = (slice(patch.top, patch.top + height), slice(patch.left, patch.left + width))
        behind = np.ascontiguousarray(canvas.image[window])
        canvas.image[window] = cv2.copyTo(colours, np.ascontiguousarray(patch.rgba[..., 3]), behind)
        canvas.claim(window, patch.mask, wall.front.semantic, 0)

    def _sprite(self, thing: Standing, pose: Pose) -> Patch | None:
        x = self._world.road.centre_at(thing.along) + thing.lateral
        foot = pose.to_camera(np.array([[x, 0.0, thing.along]]), self._camera)
        lit = min(1.1, self._light.ambient + 0.7 * self._light.strength)
        return sprite_patch(thing.sprite, foot, lit, self._camera, pose)
