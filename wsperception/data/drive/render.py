"""Paints one frame: sky, ground, shadows, then everything that stands or moves, far to near."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.data.drive.figures import Figure
from wsperception.data.drive.patch import Patch, blend, draw
from wsperception.data.drive.scenery import GROUND_HALF_M, GROUND_LENGTH_M, GROUND_M
from wsperception.data.drive.shapes import CarShape
from wsperception.data.drive.street import Standing, Street, Wall
from wsperception.data.drive.traffic import RANGE_M, World
from wsperception.data.drive.world import NEAR_M, Actor, Camera, Pose, cut_near, project

SEMANTICS = ("road", "pavement", "building", "vegetation", "sky", "object", "car", "pedestrian", "other vehicle")
"""Names of the values of a semantic map."""
_NUMBER = {name: number for number, name in enumerate(SEMANTICS)}
_KIND_SEMANTIC = {"car": 6, "pedestrian": 7, "vehicle": 8, "cyclist": 8}


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a drive.

    azimuth, elevation  radians, where the sun stands; strength 0 = overcast
    ambient             light in full shade
    haze_m              distance over which contrast falls to 1/e
    tone                (256, 1, 3) uint8 table from painted to recorded values
    blur                deviation of the lens, pixels
    grain               deviation of the sensor's noise, grey levels
    """

    azimuth: float
    elevation: float
    strength: float
    ambient: float
    haze_m: float
    tone: np.ndarray
    blur: float
    grain: float

    @property
    def shade(self) -> float:
        """0 to 1: how much darker the ground is where the sun does not reach."""
        return min(0.6, 1.3 * self.strength)


def draw_light(rng: np.random.Generator) -> Light:
    """A random light."""
    sunny = rng.random() < 0.6
    strength = float(rng.uniform(0.25, 0.5)) if sunny else float(rng.uniform(0.0, 0.12))
    levels = np.arange(256, dtype=np.float64) / 255
    gamma, gain = rng.uniform(0.85, 1.35), rng.uniform(0.85, 1.2)
    tint = 1.0 + rng.normal(0, 0.035, 3)
    curve = (gain * levels) ** gamma
    contrast = rng.uniform(0.9, 1.25)
    table = np.clip(((curve - 0.4) * contrast + 0.4)[:, None] * tint, 0, 1) * 255
    return Light(
        azimuth=float(rng.uniform(-math.pi, math.pi)),
        elevation=float(rng.uniform(0.4, 1.1)),
        strength=strength,
        ambient=float(rng.uniform(0.62, 0.8)) if sunny else float(rng.uniform(0.78, 0.92)),
        haze_m=float(rng.uniform(180, 700)),
        tone=table.astype(np.uint8)[:, None, :],
        blur=float(rng.uniform(0.35, 0.8)),
        grain=float(rng.uniform(1.0, 4.5)),
    )


@dataclass(frozen=True, eq=False)
class Painted:
    """A painted frame before the lens and the sensor.

    image     (H, W, 3) uint8
    rows      (H, W) uint16    0 = no actor, n = actors[n - 1] is what one sees
    semantic  (H, W) uint8     index into SEMANTICS
    actors    the actors in the image, in order of `rows`
    extents   (N, 4) float32   their full extent, which may leave the image
    areas     (N,) int64       pixels each would have in the image if nothing stood before it
    """

    image: np.ndarray
    rows: np.ndarray
    semantic: np.ndarray
    actors: list[Actor]
    extents: np.ndarray
    areas: np.ndarray


class Painter:
    """Paints the frames of one drive. Holds what is the same in all of them; a frame depends on its time only."""

    def __init__(self, world: World, street: Street, light: Light, camera: Camera) -> None:
        self._world, self._street, self._light, self._camera = world, street, light, camera
        self._haze_colour = np.array([188.0, 196.0, 204.0])
        ground = street.ground
        # Far pixels cover metres of road but centimetres of width, so the coarser levels are blurred along it only.
        long = [cv2.blur(ground, (1, 17), borderType=cv2.BORDER_REPLICATE), cv2.blur(ground, (1, 75))]
        self._ground_levels = [ground, long[0], long[1]]
        self._ground_semantic = np.array([_NUMBER["road"], _NUMBER["pavement"], _NUMBER["vegetation"]], np.uint8)
        self._sky_semantic = np.array([_NUMBER["sky"], _NUMBER["building"], _NUMBER["vegetation"]], np.uint8)

    def paint(self, time_s: float) -> Painted:
        """The frame at a time, seconds from the start."""
        height, width = self._camera.size
        pose = self._world.ego.pose(time_s, self._world.road)
        image = np.empty((height, width, 3), np.uint8)
        semantic = np.empty((height, width), np.uint8)
        rows = np.zeros((height, width), np.uint16)
        horizon = min(height, max(0, round(self._camera.centre_y + pose.pitch * self._camera.focal)))
        self._paint_sky(image, semantic, pose, horizon)
        present = self._present(time_s, pose)
        self._paint_ground(image, semantic, pose, horizon)
        self._paint_shadows(image, present, pose, horizon)
        things: list[tuple[float, Wall | Standing | _Present]] = [(actor.depth, actor) for actor in present]
        things += [(self._depth(wall.stop, wall.lateral, pose), wall) for wall in self._street.walls]
        things += [(self._depth(thing.along, thing.lateral, pose), thing) for thing in self._street.standing]
        things = [entry for entry in things if -6.0 < entry[0] < RANGE_M + 25.0]
        things.sort(key=lambda entry: -entry[0])
        actors: list[Actor] = []
        extents: list[np.ndarray] = []
        areas: list[int] = []
        for depth, thing in things:
            haze = 1.0 - math.exp(-max(0.0, depth) / self._light.haze_m)
            if isinstance(thing, Wall):
                self._paint_wall(image, semantic, rows, thing, pose, haze)
                continue
            patch = self._sprite(thing, pose) if isinstance(thing, Standing) else self._actor_patch(thing, time_s, pose)
            if patch is None:
                continue
            where = blend(image, patch, haze, self._haze_colour)
            mask = patch.mask
            if isinstance(thing, Standing):
                rows[where][mask] = 0
                semantic[where][mask] = _NUMBER[thing.sprite.semantic]
                continue
            actors.append(thing.actor)
            extents.append(patch.extent)
            areas.append(int(np.count_nonzero(mask)))
            rows[where][mask] = len(actors)
            semantic[where][mask] = _KIND_SEMANTIC[thing.actor.kind]
        boxes = np.array(extents, np.float32).reshape(-1, 4)
        return Painted(image, rows, semantic, actors, boxes, np.array(areas, np.int64))

    def expose(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8 as the camera records it: lens blur, tone curve, noise."""
        light = self._light
        blurred = cv2.GaussianBlur(image, (3, 3), light.blur)
        toned = cv2.LUT(blurred, light.tone)
        noise = np.zeros(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
        cv2.randn(noise, (0.0, 0.0, 0.0, 0.0), (light.grain,) * 3 + (0.0,))
        return cv2.add(toned, noise, dtype=cv2.CV_8U)

    def _depth(self, along: float, lateral: float, pose: Pose) -> float:
        x = float(self._world.road.centre(np.float32(along))) + lateral
        return math.sin(pose.yaw) * (x - pose.x) + math.cos(pose.yaw) * (along - pose.z)

    def _present(self, time_s: float, pose: Pose) -> list["_Present"]:
        """The actors in front of the camera."""
        result = []
        for actor in self._world.actors:
            if not actor.start_s <= time_s <= actor.end_s:
                continue
            along, lateral = actor.position(time_s, self._world.ego)
            if not -8.0 < along - pose.z < RANGE_M:
                continue
            x = float(self._world.road.centre(np.float32(along))) + lateral
            heading = self._world.road.heading(along) + actor.heading
            depth = self._depth(along, lateral, pose)
            result.append(_Present(actor, x, along, heading, depth))
        return result

    def _actor_patch(self, present: "_Present", time_s: float, pose: Pose) -> Patch | None:
        turn = present.heading - pose.yaw
        sine, cosine = math.sin(turn), math.cos(turn)
        rotation = np.array([[sine, cosine, 0.0], [0.0, 0.0, -1.0], [cosine, -sine, 0.0]])
        middle = np.array([[present.x, 0.0, present.z]])
        offset = pose.to_camera(middle, self._camera)[0]
        shape, light = present.actor.shape, self._light
        if isinstance(shape, CarShape):
            if offset[2] < -0.5 * shape.size[0] + NEAR_M:
                return None
            away = light.azimuth - present.heading
            flat = math.cos(light.elevation)
            sun = np.array([math.cos(away) * flat, math.sin(away) * flat, math.sin(light.elevation)]) * light.strength
            polygons = shape.polygons(rotation, offset, sun, light.ambient)
        else:
            assert isinstance(shape, Figure)
            if offset[2] < 1.0:
                return None
            polygons = shape.polygons(rotation, offset, time_s, light.ambient + 0.6 * light.strength)
        return draw(polygons, shape.texture, self._camera, pose)

    def _paint_sky(self, image: np.ndarray, semantic: np.ndarray, pose: Pose, horizon: int) -> None:
        width = self._camera.size[1]
        sky, kind = self._street.sky, self._street.sky_kind
        columns = np.arange(width) + round(width / 2 + pose.yaw * self._camera.focal)
        columns = np.mod(columns, sky.shape[1])
        rows = np.clip(np.arange(horizon) + len(sky) - horizon, 0, len(sky) - 1)
        image[:horizon] = sky[rows[:, None], columns]
        semantic[:horizon] = self._sky_semantic[kind[rows[:, None], columns]]

    def _paint_ground(self, image: np.ndarray, semantic: np.ndarray, pose: Pose, horizon: int) -> None:
        camera = self._camera
        height, width = camera.size
        exact = camera.centre_y + pose.pitch * camera.focal
        below = np.maximum(np.arange(horizon, height) + 0.5 - exact, 0.2)
        depth = (camera.focal * camera.height_m / below).astype(np.float32)[:, None]  # (h, 1)
        across = ((np.arange(width) + 0.5 - camera.centre_x) / camera.focal).astype(np.float32)[None] * depth
        sine, cosine = np.float32(math.sin(pose.yaw)), np.float32(math.cos(pose.yaw))
        along = (np.float32(pose.z) + cosine * depth) - sine * across
        lateral = np.float32(pose.x) + sine * depth + cosine * across - self._world.road.centre(along)
        # The pose is large late in a drive; only then is the remainder taken, in float64 rows' accuracy of millimetres.
        texel_row = np.mod(along, np.float32(GROUND_LENGTH_M)) * np.float32(1 / GROUND_M) - np.float32(0.5)
        texel_column = np.clip((lateral + GROUND_HALF_M) * np.float32(1 / GROUND_M), 0, self._columns() - 1)
        reach = depth[:, 0]
        for level, (near, far) in enumerate(((0.0, 14.0), (14.0, 34.0), (34.0, np.inf))):
            part = np.flatnonzero((reach >= near) & (reach < far))
            if len(part) == 0:
                continue
            span = slice(int(part[0]), int(part[-1]) + 1)
            image[horizon:][span] = cv2.remap(
                self._ground_levels[level],
                texel_column[span],
                texel_row[span],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
        kinds = self._ground_semantic[self._street.ground_kind]
        semantic[horizon:] = kinds[texel_column.astype(np.int32)]
        fog = (1 - np.exp(-reach / self._light.haze_m)).astype(np.float32)
        rows = np.flatnonzero(fog > 0.04)
        if len(rows):
            part = image[horizon:][rows].astype(np.float32)
            part += (self._haze_colour.astype(np.float32) - part) * fog[rows, None, None]
            image[horizon:][rows] = part.astype(np.uint8)

    def _columns(self) -> int:
        return int(self._street.ground.shape[1])

    def _paint_shadows(self, image: np.ndarray, present: list["_Present"], pose: Pose, horizon: int) -> None:
        light = self._light
        mask = np.zeros((len(image) - horizon, image.shape[1]), np.uint8)
        dark = 50 + 260 * light.strength
        for actor in present:
            length, width, height = actor.actor.shape.size  # type: ignore[attr-defined]
            cast = 0.85 * height / math.tan(light.elevation) if light.strength > 0.15 else 0.0
            sine, cosine = math.sin(actor.heading), math.cos(actor.heading)
            corners = []
            for forward, right in ((0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5)):
                x = actor.x + forward * length * sine + right * width * cosine
                z = actor.z + forward * length * cosine - right * width * sine
                corners.append((x, 0.0, z))
                corners.append((x - cast * math.sin(light.azimuth), 0.0, z - cast * math.cos(light.azimuth)))
            points = pose.to_camera(np.array(corners), self._camera)
            hull = cv2.convexHull(np.ascontiguousarray(points[:, [0, 2]], np.float32))[:, 0]
            outline = np.stack([hull[:, 0], np.full(len(hull), self._camera.height_m), hull[:, 1]], axis=1)
            kept = cut_near(outline)
            if len(kept) >= 3:
                pixels = project(kept, self._camera, pose) - (0, horizon)
                cv2.fillConvexPoly(mask, np.clip(pixels, -30000, 30000).astype(np.int32), min(160.0, dark))
        keep = cv2.bitwise_not(cv2.blur(mask, (5, 3)))
        ground = np.ascontiguousarray(image[horizon:])
        image[horizon:] = cv2.multiply(ground, cv2.merge([keep, keep, keep]), scale=1 / 255)

    def _paint_wall(
        self, image: np.ndarray, semantic: np.ndarray, rows: np.ndarray, wall: Wall, pose: Pose, haze: float
    ) -> None:
        road, camera = self._world.road, self._camera
        ends = np.array([[float(road.centre(np.float32(z))) + wall.lateral, 0.0, z] for z in (wall.start, wall.stop)])
        near, far = pose.to_camera(ends, camera)
        if far[2] <= 1.2:
            return
        share = max(0.0, (1.2 - near[2]) / (far[2] - near[2]))
        near = near + share * (far - near)
        tall = np.array([0.0, wall.front.size[1], 0.0])
        corners = project(np.stack([near - tall, far - tall, far, near]), camera, pose)  # from the top, clockwise
        height, width = camera.size
        low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(axis=0)), (width, height)).astype(int)
        if (high <= low).any():
            return
        projected = 0.5 * (corners[3, 1] - corners[0, 1] + corners[2, 1] - corners[1, 1])
        levels = wall.front.levels
        level = int(np.clip(math.log2(max(1.0, len(levels[0]) / max(projected, 1.0))), 0, len(levels) - 1))
        texture = levels[level]
        rows_in, columns_in = texture.shape[:2]
        source = np.array(
            [[share * columns_in, 0], [columns_in, 0], [columns_in, rows_in], [share * columns_in, rows_in]]
        )
        target = corners - low
        matrix = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        warped = cv2.warpPerspective(texture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        facing = math.sin(self._light.azimuth) * -math.copysign(1.0, wall.lateral)
        lit = self._light.ambient + self._light.strength * max(0.0, facing)
        warped = cv2.convertScaleAbs(warped, alpha=lit * (1 - haze), beta=haze * 196.0)
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(mask, np.rint(np.clip(target, -30000, 30000)).astype(np.int32), 255)
        where = (slice(low[1], high[1]), slice(low[0], high[0]))
        image[where] = cv2.copyTo(warped, mask, np.ascontiguousarray(image[where]))
        covered = mask > 0
        rows[where][covered] = 0
        semantic[where][covered] = _NUMBER[wall.front.semantic]

    def _sprite(self, thing: Standing, pose: Pose) -> Patch | None:
        camera = self._camera
        x = float(self._world.road.centre(np.float32(thing.along))) + thing.lateral
        foot = pose.to_camera(np.array([[x, 0.0, thing.along]]), camera)
        if foot[0, 2] < 2.0:
            return None
        at = project(foot, camera, pose)[0]
        wide, tall = np.array(thing.sprite.size) * camera.focal / foot[0, 2]
        height, width = camera.size
        left, right = max(0, math.floor(at[0] - wide / 2)), min(width, math.ceil(at[0] + wide / 2))
        top, bottom = max(0, math.floor(at[1] - tall)), min(height, math.ceil(at[1]))
        if right <= left or bottom <= top:
            return None
        levels = thing.sprite.levels
        level = int(np.clip(math.log2(max(1.0, len(levels[0]) / max(tall, 1.0))), 0, len(levels) - 1))
        picture = levels[level]
        scale_x, scale_y = picture.shape[1] / wide, picture.shape[0] / tall
        origin_x, origin_y = left + 0.5 - (at[0] - wide / 2), top + 0.5 - (at[1] - tall)
        matrix = np.array([[scale_x, 0, origin_x * scale_x - 0.5], [0, scale_y, origin_y * scale_y - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        rgba = cv2.warpAffine(picture, matrix, (right - left, bottom - top), flags=flags)
        lit = min(1.1, self._light.ambient + 0.7 * self._light.strength)
        rgba[..., :3] = cv2.convertScaleAbs(np.ascontiguousarray(rgba[..., :3]), alpha=lit)
        np.minimum(rgba[..., :3], rgba[..., 3:], out=rgba[..., :3])
        extent = np.array([at[0] - wide / 2, at[1] - tall, at[0] + wide / 2, at[1]], np.float32)
        return Patch(left, top, rgba, extent)


@dataclass(frozen=True, eq=False)
class _Present:
    """An actor at one moment: world X and Z of the middle of its footprint, heading, depth."""

    actor: Actor
    x: float
    z: float
    heading: float
    depth: float
