"""Traffic seen from a car, simulated, to choose settings on: cars that hide each other for long, at little speed.

On a motorway the others drive at nearly the camera's own speed, in four lanes; in a street the camera drives past two
rows of parked cars. Vans hide what is behind them and are no objects themselves. Boxes are tight around what is seen.
"""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.tracking.truth import Truth, truth_frame
from benchmarks.tracking.walkers import CENTRE, FOCAL, HEIGHT_M, RATE_HZ, SIZE, painted_objects
from wsperception.data.mots import MotsObject, MotsSequence

TRAFFIC = ("motorway0", "motorway1", "street0", "street1")
FRAMES = 300
NEAR_M, FAR_M, BEHIND_M = 1.5, 90.0, 6.0
KEPT = 0.97
"""Share of a car's own speed that is left after a frame."""


@dataclass(frozen=True)
class Lane:
    """A lane: metres to the right of the camera, speed in m/s beyond the camera's, mean gap, spread of the speeds."""

    across_m: float
    speed: float
    spacing_m: float
    spread: float


LANES = {
    "motorway": (
        Lane(-3.6, 1.0, 16.0, 1.5), Lane(0.0, 0.0, 18.0, 1.5), Lane(3.6, -1.0, 14.0, 1.5), Lane(7.2, -2.0, 12.0, 1.0),
        Lane(-14.0, -40.0, 45.0, 1.0),
    ),
    "street": (
        Lane(-5.0, -6.0, 7.5, 0.0), Lane(5.5, -6.0, 7.0, 0.0), Lane(0.0, 0.5, 25.0, 1.0), Lane(-2.5, -14.0, 30.0, 1.0),
    ),
}  # fmt: skip


@dataclass
class Car:
    """A car: track id, lane, metres ahead of the camera and to its right, its own speed beyond its lane's, its size."""

    number: int
    lane: Lane
    ahead_m: float
    own_speed: float
    van: bool
    across_m: float
    width_m: float
    height_m: float
    length_m: float


def traffic(name: str) -> Truth:
    """What `name`, one of TRAFFIC, shows; always the same."""
    kind = name[:-1]
    rng = np.random.default_rng([zlib.crc32(kind.encode()), int(name[-1])])
    numbers = itertools.count(1)
    cars = _first(LANES[kind], numbers, rng)
    frames, objects = [], []
    for frame in range(FRAMES):
        nod = rng.normal(0.0, 1.5)  # pixels
        for lane in LANES[kind]:
            _drive(sorted((car for car in cars if car.lane is lane), key=lambda car: car.ahead_m), rng)
        cars = [car for car in cars if -BEHIND_M < car.ahead_m < FAR_M + 5.0]
        for lane in LANES[kind]:
            cars += _arriving(lane, [car.ahead_m for car in cars if car.lane is lane], numbers, rng)
        found = _seen(cars, nod, frame)
        frames.append(truth_frame(found))
        objects += found
    return Truth(name, frames, SIZE, RATE_HZ, MotsSequence(name, "memory", tuple(objects), FRAMES))


def _first(lanes: tuple[Lane, ...], numbers: Iterator[int], rng: np.random.Generator) -> list[Car]:
    cars = []
    for lane in lanes:
        ahead_m = rng.uniform(-5.0, 5.0) + (8.0 if lane.across_m == 0.0 else 0.0)
        while ahead_m < FAR_M:
            cars.append(_car(lane, ahead_m, numbers, rng))
            ahead_m += lane.spacing_m * rng.uniform(0.6, 1.6) + (4.0 if cars[-1].van else 0.0)
    return cars


def _car(lane: Lane, ahead_m: float, numbers: Iterator[int], rng: np.random.Generator) -> Car:
    number, van, across_m = next(numbers), bool(rng.random() < 0.12), lane.across_m + rng.normal(0.0, 0.25)
    size = (2.4, 2.9, 7.0) if van else (rng.uniform(1.65, 1.95), rng.uniform(1.4, 1.7), rng.uniform(3.8, 4.8))
    return Car(number, lane, ahead_m, 0.0, van, across_m, *size)


def _drive(row: list[Car], rng: np.random.Generator) -> None:
    """One frame later for the cars of one lane, the rearmost first; nobody drives into the one before him."""
    for place, car in enumerate(row):
        lane = car.lane
        if lane.spread:
            car.own_speed = KEPT * car.own_speed + (1.0 - KEPT**2) ** 0.5 * rng.normal(0.0, lane.spread)
        speed = lane.speed + car.own_speed
        if place + 1 < len(row) and row[place + 1].ahead_m - car.ahead_m < car.length_m + 3.0:
            speed = min(speed, lane.speed + row[place + 1].own_speed - 0.5)
        car.ahead_m += speed / RATE_HZ
        if lane.spread:
            car.across_m += rng.normal(0.0, 0.015)
        if lane.across_m == 0.0 and place == 0 and car.ahead_m < 8.0:
            car.ahead_m, car.own_speed = 8.0, max(car.own_speed, 0.0)


def _arriving(lane: Lane, taken_m: list[float], numbers: Iterator[int], rng: np.random.Generator) -> list[Car]:
    """Those that come into view far ahead, or from behind, where the lane has room; `taken_m`: where its cars are."""
    cars = []
    if lane.speed <= 0.0 and (not taken_m or max(taken_m) < FAR_M + 4.0 - lane.spacing_m * rng.uniform(0.6, 1.6)):
        cars.append(_car(lane, FAR_M + 4.0, numbers, rng))
        taken_m = [*taken_m, cars[-1].ahead_m]
    own = lane.across_m == 0.0
    if lane.speed >= 0.0 and not own and (not taken_m or min(taken_m) > lane.spacing_m * rng.uniform(0.6, 1.6) - 5.0):
        cars.append(_car(lane, -5.0, numbers, rng))
    return cars


def _seen(cars: list[Car], nod: float, frame: int) -> list[MotsObject]:
    """What is visible of each car, painted from far to near; the road bends a little."""
    time_s = frame / RATE_HZ
    bend = 0.0008 * np.sin(0.15 * time_s) + 0.0004 * np.sin(0.4 * time_s + 1.0)
    order = sorted((car for car in cars if NEAR_M < car.ahead_m < FAR_M), key=lambda car: -car.ahead_m)
    picture = np.zeros(SIZE, np.uint16)
    for label, car in enumerate(order, start=1):
        cv2.fillConvexPoly(picture, _outline(car, bend, nod), label)
    return painted_objects(picture, frame, [0 if car.van else car.number for car in order], [1] * len(order))


def _outline(car: Car, bend: float, nod: float) -> np.ndarray:
    """(K, 1, 2) int32 corners of the hull of its front and its back, which are narrower at the roof."""
    points = []
    for ahead_m in (car.ahead_m + car.length_m, car.ahead_m):
        scale = FOCAL / max(ahead_m, 1.0)
        x, ground = CENTRE[0] + scale * (car.across_m + bend * ahead_m**2), CENTRE[1] + nod + scale * HEIGHT_M
        half, roof = scale * car.width_m / 2.0, ground - scale * car.height_m
        points += [(x - half, ground), (x + half, ground), (x - 0.8 * half, roof), (x + 0.8 * half, roof)]
    outline: np.ndarray = np.round(cv2.convexHull(np.array(points, np.float32))).astype(np.int32)
    return outline
