"""Which kind of street a drive shows, and who is on it."""

import math
from dataclasses import dataclass, replace

import numpy as np

from wsperception.data.drive.figures import Figure, draw_figure
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.shapes import CarShape, draw_car, draw_lorry
from wsperception.data.drive.texture import Palette
from wsperception.data.drive.world import Ego, Road

RANGE_M = 105.0
LANE_M = 3.4

# Shares after the frames of the KITTI MOTS training sequences.
SCENE_SHARES = {"parked": 0.30, "road": 0.22, "traffic": 0.20, "crowd": 0.20, "mixed": 0.08}


@dataclass(frozen=True, eq=False)
class Actor:
    """One thing that may move. Everything is fixed at birth; where it is follows from the time.

    kind           car, pedestrian, vehicle (lorry or bus) or cyclist; the last two belong to the ignore region
    along, lateral m at time 0 (`follows`: along counts from the ego car)
    speed, drift   m/s along the road and across it
    heading        radians, 0 = along the road
    swing          m, slow change of `along`; period 20 s
    shape          what is drawn
    """

    kind: str
    along: float
    lateral: float
    speed: float
    drift: float
    heading: float
    shape: CarShape | Figure
    swing_phase: float
    swing: float = 0.0
    follows: bool = False

    def position(self, time_s: float, ego: Ego) -> tuple[float, float]:
        """Along and lateral, metres, at a time."""
        along = self.along + self.speed * time_s + self.swing * math.sin(0.314 * time_s + self.swing_phase)
        if self.follows:
            along += ego.along(time_s)
        return along, self.lateral + self.drift * time_s


@dataclass(frozen=True, eq=False)
class World:
    """Everything of one drive that is not picture: scene name, road, ego car, actors."""

    scene: str
    road: Road
    ego: Ego
    actors: list[Actor]


def populate(settings: DriveSettings, palette: Palette, rng: np.random.Generator) -> World:
    """The world of a drive."""
    scene = settings.scene
    if scene == "any":
        scene = str(rng.choice(list(SCENE_SHARES), p=list(SCENE_SHARES.values())))
    lanes = 2 if scene == "traffic" or (scene == "road" and rng.random() < 0.3) else 1
    parking = scene in ("parked", "mixed")
    half_width = lanes * LANE_M + (2.2 if parking else 0.3)
    road = Road(
        amplitude=float(rng.uniform(0.0, 7.0)),
        wavelength=float(rng.uniform(250, 600)),
        phase=float(rng.uniform(0, 6.28)),
        half_width=half_width,
        pavement=float(rng.uniform(2.5, 5.0)) + (2.0 if scene == "crowd" else 0.0),
        lanes=lanes,
    )
    low, high = {"parked": (4, 12), "road": (7, 15), "traffic": (6, 22), "crowd": (0, 2), "mixed": (2, 8)}[scene]
    speed = float(rng.uniform(low, high))
    if scene == "crowd" and rng.random() < 0.45:
        speed = 0.0
    ego = Ego(
        speed=speed,
        speed_swing=speed * float(rng.uniform(0.1, 0.7)),
        swing_period=float(rng.uniform(15, 40)),
        swing_phase=float(rng.uniform(0, 6.28)),
        lateral=LANE_M * (lanes - 0.5),
        bump_phase=float(rng.uniform(0, 6.28)),
    )
    maker = _Maker(scene, road, ego, palette, rng, settings.frames / settings.rate_hz)
    return World(scene, road, ego, maker.everybody())


@dataclass(frozen=True, eq=False)
class _Maker:
    """Draws the actors of a drive."""

    scene: str
    road: Road
    ego: Ego
    palette: Palette
    rng: np.random.Generator
    duration_s: float

    def everybody(self) -> list[Actor]:
        actors: list[Actor] = []
        if self.scene in ("parked", "mixed"):
            actors += self._parked()
        if self.scene != "crowd" or self.rng.random() < 0.55:
            actors += self._leaders() + self._oncoming()
        actors += self._pavement_people()
        if self.scene == "traffic":
            actors += self._neighbours()
        if self.scene in ("crowd", "mixed"):
            actors += self._crossing_people()
        return actors

    def _travel(self) -> float:
        return self.ego.along(self.duration_s)

    def _car(self, along: float, lateral: float, speed: float, heading: float = 0.0, lorries: float = 0.09) -> Actor:
        large = self.rng.random() < lorries
        shape = draw_lorry(self.rng, self.palette) if large else draw_car(self.rng, self.palette)
        kind = "vehicle" if large else "car"
        return Actor(kind, along, lateral, speed, 0.0, heading, shape, self._phase())

    def _person(self, along: float, lateral: float, speed: float, drift: float) -> Actor:
        pace = math.hypot(speed, drift)
        cycling = pace > 3.0
        figure = draw_figure(self.rng, self.palette, pace, cycling)
        heading = math.atan2(drift, speed) if pace > 0 else float(self.rng.uniform(-3.1, 3.1))
        kind = "cyclist" if cycling else "pedestrian"
        return Actor(kind, along, lateral, speed, drift, heading, figure, self._phase())

    def _phase(self) -> float:
        return float(self.rng.uniform(0, 6.28))

    def _parked(self) -> list[Actor]:
        """Cars along both kerbs, or across the pavement."""
        rng, actors = self.rng, []
        edge = self.road.half_width
        for side in (-1.0, 1.0):
            fullness = rng.uniform(0.0, 0.85)
            across = rng.random() < 0.2
            along = 3.0
            while along < self._travel() + RANGE_M:
                if rng.random() < 0.08:
                    fullness = rng.uniform(0.0, 0.9)
                if rng.random() < fullness:
                    heading = (math.pi / 2 if rng.random() < 0.5 else -math.pi / 2) if across else 0.0
                    heading += (math.pi if rng.random() < (0.85 if side < 0 else 0.1) else 0.0) * (not across)
                    lateral = side * (edge - 1.05 + (1.9 if across else 0.0)) + rng.normal(0, 0.1)
                    actors.append(self._car(along, lateral, 0.0, heading + rng.normal(0, 0.03), lorries=0.03))
                along += (3.0 if across else 6.2) * rng.uniform(1.0, 1.15)
        return actors

    def _leaders(self) -> list[Actor]:
        """Cars ahead in the ego car's lane."""
        rng, actors = self.rng, []
        chance = {"parked": 0.25, "road": 0.45, "traffic": 0.85, "crowd": 0.25, "mixed": 0.3}[self.scene]
        gap = 0.0
        while rng.random() < chance and gap < 90:
            gap += rng.uniform(9, 30) if self.scene != "crowd" else rng.uniform(20, 50)
            swing = min(0.2 * gap, 5.0) * rng.random()
            car = self._car(gap, self.ego.lateral + rng.normal(0, 0.15), 0.0)
            actors.append(replace(car, follows=True, swing=swing))
            gap += 6.0
            chance *= 0.8
        return actors

    def _oncoming(self) -> list[Actor]:
        """Cars on the other side, each lane at one speed so that none drives through another."""
        rng, actors = self.rng, []
        rate = {"parked": 0.03, "road": 0.16, "traffic": 0.12, "crowd": 0.04, "mixed": 0.05}[self.scene]
        rate *= rng.uniform(0.1, 1.7)
        for lane in range(self.road.lanes):
            speed = float(rng.uniform(5, 14))
            lateral = -LANE_M * (lane + 0.5)
            reach = self._travel() + speed * self.duration_s + RANGE_M
            along = rng.uniform(0, 30)
            while along < reach:
                actors.append(self._car(along, lateral + rng.normal(0, 0.2), -speed, math.pi))
                along += 8.0 + rng.exponential(speed / rate / 2)
        return actors

    def _neighbours(self) -> list[Actor]:
        """Cars in the other lane of the same direction, some a little faster than the ego car."""
        rng, actors = self.rng, []
        relative = float(rng.normal(0, 1.2))
        swing = float(rng.uniform(0, 6.0))
        reach = abs(relative) * self.duration_s
        along = -10.0 - max(0.0, relative) * self.duration_s
        gap = rng.uniform(8, 30)
        while along < RANGE_M + reach:
            lateral = LANE_M * 0.5 + rng.normal(0, 0.15)
            reach_of_swing = swing * rng.uniform(0.9, 1.1)
            car = self._car(along, lateral, relative, lorries=0.1)
            actors.append(replace(car, follows=True, swing=reach_of_swing))
            along += 8.0 + swing + rng.exponential(gap)
        return actors

    def _pavement_people(self) -> list[Actor]:
        """People who walk or stand on the pavements, and cyclists, alone or in pairs."""
        rng, actors = self.rng, []
        density = {"parked": 0.014, "road": 0.005, "traffic": 0.001, "crowd": 0.09, "mixed": 0.06}[self.scene]
        density *= rng.uniform(0.0, 2.0)
        reach = self._travel() + 70.0 + 1.5 * self.duration_s
        for _ in range(rng.poisson(density * (reach + 1.5 * self.duration_s + 10))):
            along = rng.uniform(-10 - 1.5 * self.duration_s, reach)
            side = -1.0 if rng.random() < 0.5 else 1.0
            lateral = side * (self.road.half_width + rng.uniform(0.4, self.road.pavement - 0.3))
            speed = 0.0 if rng.random() < 0.2 else float(rng.choice([-1, 1]) * rng.uniform(0.9, 1.6))
            if rng.random() < 0.05:
                speed *= 3.4
            actors.append(self._person(along, lateral, speed, 0.0))
            if rng.random() < 0.35:
                actors.append(self._person(along + rng.normal(0, 0.25), lateral + side * 0.6, speed, 0.0))
        return actors

    def _crossing_people(self) -> list[Actor]:
        """People who cross the road some way ahead of the ego car, now and then in groups."""
        rng, actors = self.rng, []
        rate = rng.uniform(0.1, 0.55) if self.scene == "crowd" else 0.05
        time = -12.0
        depth = rng.uniform(4.0, 9.5)
        while time < self.duration_s:
            time += rng.exponential(1 / rate)
            side = float(rng.choice([-1, 1]))
            ahead = self.ego.along(max(0.0, time + 3.0)) + depth + rng.gamma(1.5, 1.9)
            drift = -side * rng.uniform(0.9, 1.6)
            edge = self.road.half_width + self.road.pavement + 4.0
            for _ in range(1 + rng.poisson(0.5)):
                start = side * edge - drift * time
                actors.append(self._person(ahead + rng.normal(0, 0.7), start + rng.normal(0, 0.5), 0.0, drift))
        return actors
