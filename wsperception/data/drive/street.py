"""What stands along the road: fronts, trees and furniture, laid out once per drive."""

from dataclasses import dataclass

import numpy as np

from wsperception.data.drive.ground import draw_ground, draw_sky
from wsperception.data.drive.scenery import (
    Front,
    Sprite,
    draw_bush,
    draw_front,
    draw_furniture,
    draw_low_wall,
    draw_tree,
)
from wsperception.data.drive.texture import Palette
from wsperception.data.drive.traffic import LANE_M, RANGE_M, World
from wsperception.data.drive.world import Camera


@dataclass(frozen=True, eq=False)
class Wall:
    """A front that stands along the road from `start` to `stop`, at a lateral offset."""

    start: float
    stop: float
    lateral: float
    front: Front


@dataclass(frozen=True, eq=False)
class Standing:
    """A sprite at a place."""

    along: float
    lateral: float
    sprite: Sprite


@dataclass(frozen=True, eq=False)
class Street:
    """The scenery of a drive, every list in order along the road.

    ground, ground_kind  see ground.draw_ground
    sky, sky_kind        see ground.draw_sky
    """

    ground: np.ndarray
    ground_kind: np.ndarray
    sky: np.ndarray
    sky_kind: np.ndarray
    walls: list[Wall]
    standing: list[Standing]


def lay_out(
    world: World, palette: Palette, camera: Camera, length_m: float, shade: float, rng: np.random.Generator
) -> Street:
    """A street of `length_m` metres (the ego car's way), and as much beyond as can be seen.

    shade  0 to 1: depth of the shadows on the ground
    """
    road = world.road
    zebra = world.scene in ("crowd", "mixed") or rng.random() < 0.2
    ground, kind = draw_ground(rng, palette, road.half_width, road.pavement, road.lanes, LANE_M, zebra, shade)
    # The panorama must cover the turns of the road on both sides of the view.
    sky, sky_kind = draw_sky(rng, palette, 2 * camera.size[1], max(8, round(camera.centre_y + 0.05 * camera.focal)))
    fronts = [draw_front(rng, palette) for _ in range(8)]
    low_walls = [draw_low_wall(rng, palette) for _ in range(3)]
    trees = [draw_tree(rng, palette) for _ in range(4)]
    bushes = [draw_bush(rng, palette) for _ in range(3)]
    furniture = [draw_furniture(rng, palette) for _ in range(7)]
    walls: list[Wall] = []
    standing: list[Standing] = []
    end = length_m + RANGE_M + 20
    town = rng.uniform(0.3, 1.0) if world.scene in ("parked", "crowd", "mixed") else rng.uniform(0.0, 0.6)
    for side in (-1.0, 1.0):
        edge = road.half_width + road.pavement
        walls += _row_of_walls(rng, side, edge, end, town, fronts, low_walls)
        green = rng.uniform(0.2, 1.0)
        standing += _row_of_things(rng, side, road.half_width + 0.7, end, furniture, 9.0)
        standing += _row_of_things(rng, side, edge + 0.4, end, trees, 11.0 / green)
        standing += _row_of_things(rng, side, edge + 0.2, end, bushes + furniture[:2], 13.0 / green)
        standing += _row_of_things(rng, side, edge + 22.0, end, trees, 8.0)
    standing.sort(key=lambda thing: thing.along)
    return Street(ground, kind, sky, sky_kind, walls, standing)


def _row_of_walls(
    rng: np.random.Generator,
    side: float,
    edge: float,
    end: float,
    town: float,
    fronts: list[Front],
    low_walls: list[Front],
) -> list[Wall]:
    walls: list[Wall] = []
    along = -20.0 + rng.uniform(0, 15)
    setback = float(rng.choice([0.3, 1.5, 5.0]))
    while along < end:
        choice = rng.random()
        if choice < town:
            front = fronts[rng.integers(len(fronts))]
            lateral = side * (edge + setback + rng.uniform(0, 0.6))
        elif choice < town + 0.5 * (1 - town):
            front = low_walls[rng.integers(len(low_walls))]
            lateral = side * (edge + 0.2 + rng.uniform(0, 1.0))
        else:
            along += rng.uniform(6, 18)
            continue
        walls.append(Wall(along, along + front.size[0], lateral, front))
        along += front.size[0] + (rng.uniform(2, 8) if rng.random() < 0.35 else 0.0)
    return walls


def _row_of_things(
    rng: np.random.Generator, side: float, lateral: float, end: float, sprites: list[Sprite], spacing: float
) -> list[Standing]:
    things: list[Standing] = []
    along = -5.0 + rng.uniform(0, spacing)
    while along < end:
        sprite = sprites[rng.integers(len(sprites))]
        things.append(Standing(along, side * (lateral + rng.uniform(0, 0.8) * (1 + lateral / 20)), sprite))
        along += spacing * rng.uniform(0.4, 1.8)
    return things
