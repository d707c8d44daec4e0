"""Crowds that walk past a robot, simulated, to choose settings on: the tuning sequences hold only ten pedestrians.

A pinhole camera like KITTI's, 1.65 m above a plane, stands, turns or drives; people walk alone or in groups, cars
are parked between them. What is nearer hides what is farther; boxes are tight around what is seen, as in KITTI MOTS.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.tracking.truth import Truth, truth_frame
from wsperception import rle
from wsperception.data.mots import MotsObject, MotsSequence

WALKERS = ("stands", "turns", "drives")
SIZE = (375, 1242)
FOCAL, CENTRE, HEIGHT_M = 721.5, (609.6, 172.9), 1.65
RATE_HZ = 10.0
FRAMES = 200
PEOPLE, CARS = 26, 6
NEAR_M, FAR_M = 4.0, 40.0
FEWEST_PIXELS = 60
"""Less than this is not annotated."""


@dataclass
class Scene:
    """Everything on the plane, O of them: metres in the world, x to the right, z ahead at the start.

    places    (O, 2) x, z
    speeds    (O, 2) metres per second
    sizes     (O, 2) width and height in metres
    phases    (O,) of the gait
    numbers   (O,) track id
    classes   (O,) class id
    """

    places: np.ndarray
    speeds: np.ndarray
    sizes: np.ndarray
    phases: np.ndarray
    numbers: np.ndarray
    classes: np.ndarray


def walkers(name: str) -> Truth:
    """The crowd seen by a camera that does what `name`, one of WALKERS, says; always the same."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    scene = _scene(rng)
    camera, heading = np.zeros(2), 0.0
    frames, objects = [], []
    for frame in range(FRAMES):
        time_s = frame / RATE_HZ
        turning = {"stands": 0.0, "turns": 0.35 * np.sin(0.9 * time_s), "drives": 0.06 * np.sin(0.5 * time_s)}[name]
        speed = 5.0 if name == "drives" else 0.0
        heading += turning / RATE_HZ
        camera = camera + speed / RATE_HZ * np.array([np.sin(heading), np.cos(heading)])
        _walk(scene, camera, heading, rng)
        nod = rng.normal(0.0, 0.5 + 0.3 * speed)  # pixels
        found = _seen(scene, camera, heading, nod, time_s, frame)
        frames.append(truth_frame(found))
        objects += found
    return Truth(name, frames, SIZE, RATE_HZ, MotsSequence(name, "memory", tuple(objects), FRAMES))


def _scene(rng: np.random.Generator) -> Scene:
    count = PEOPLE + CARS
    scene = Scene(
        np.zeros((count, 2)), np.zeros((count, 2)), np.zeros((count, 2)), np.zeros(count), np.arange(1, count + 1),
        np.array([1] * PEOPLE + [0] * CARS),
    )  # fmt: skip
    for row in range(count):
        _appear(scene, row, np.zeros(2), 0.0, rng, anywhere=True)
    return scene


def _appear(
    scene: Scene, row: int, camera: np.ndarray, heading: float, rng: np.random.Generator, anywhere: bool
) -> None:
    """Puts the object at `row` somewhere into view, or at the edge of it, as a new object."""
    depth = rng.uniform(NEAR_M + 2.0, FAR_M - 5.0) if anywhere or rng.random() < 0.5 else FAR_M - 5.0
    half = depth * SIZE[1] / (2.0 * FOCAL)
    across = rng.uniform(-half, half) if anywhere or depth > FAR_M - 6.0 else rng.choice([-1.0, 1.0]) * (half + 0.5)
    scene.places[row] = camera + _turned(np.array([across, depth]), heading)
    person = scene.classes[row] == 1
    scene.sizes[row] = (rng.uniform(0.5, 0.75), rng.normal(1.72, 0.1)) if person else (rng.uniform(2.0, 4.3), 1.5)
    direction = rng.choice([-1.0, 1.0]) * np.array([np.cos(rng.normal(0, 0.6)), rng.normal(0, 0.5)])
    scene.speeds[row] = rng.normal(1.3, 0.3) * direction * (person and rng.random() < 0.85)
    friends = np.flatnonzero((scene.classes == 1) & (np.arange(len(scene.classes)) != row))
    if person and rng.random() < 0.35:
        friend = int(rng.choice(friends))
        beside = rng.choice([-1.0, 1.0], 2) * rng.uniform(0.4, 0.9, 2)
        scene.places[row] = scene.places[friend] + beside
        scene.speeds[row] = scene.speeds[friend]
    scene.phases[row] = rng.uniform(0, 2 * np.pi)


def _walk(scene: Scene, camera: np.ndarray, heading: float, rng: np.random.Generator) -> None:
    """One frame later; who has left the view comes back as somebody else."""
    people = scene.classes == 1
    scene.speeds[people] += rng.normal(0.0, 0.06, (int(people.sum()), 2))
    scene.places += scene.speeds / RATE_HZ
    for row in range(len(scene.numbers)):
        across, depth = _turned(scene.places[row] - camera, -heading)
        half = max(depth, 1.0) * SIZE[1] / (2.0 * FOCAL) + 3.0
        if not (NEAR_M - 1.0 < depth < FAR_M + 2.0 and abs(across) < half):
            scene.numbers[row] = scene.numbers.max() + 1
            _appear(scene, row, camera, heading, rng, anywhere=False)


def _turned(place: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([cosine * place[0] + sine * place[1], -sine * place[0] + cosine * place[1]])


def _seen(scene: Scene, camera: np.ndarray, heading: float, nod: float, time_s: float, frame: int) -> list[MotsObject]:
    """What is visible of each object, painted from far to near."""
    local = np.array([_turned(place - camera, -heading) for place in scene.places])  # (O, 2)
    picture = np.zeros(SIZE, np.uint16)
    order = [row for row in np.argsort(-local[:, 1]) if NEAR_M - 1.0 < local[row, 1] < FAR_M]
    for label, row in enumerate(order, start=1):
        _paint(picture, label, scene, row, local[row], nod, time_s)
    return painted_objects(picture, frame, scene.numbers[order].tolist(), (scene.classes[order] + 1).tolist())


def painted_objects(
    picture: np.ndarray, frame: int, track_ids: list[int], class_numbers: list[int]
) -> list[MotsObject]:
    """The objects of one frame that show FEWEST_PIXELS or more.

    picture    (H, W) uint16, row + 1 of the object that a pixel shows
    track_ids  of each row; 0: no object, only hides others. class_numbers as in KITTI MOTS
    """
    encoded = rle.encode_label_map(picture, len(track_ids) + 1)
    pixels = np.bincount(picture.ravel(), minlength=len(track_ids) + 1)
    rows = [row for row, track_id in enumerate(track_ids) if track_id and pixels[row + 1] >= FEWEST_PIXELS]
    return [MotsObject(frame, track_ids[row], class_numbers[row], SIZE, encoded[row + 1]) for row in rows]


def _paint(
    picture: np.ndarray, label: int, scene: Scene, row: int, local: np.ndarray, nod: float, time_s: float
) -> None:
    """A head, a body and two legs that swing; a car is a box."""
    scale = FOCAL / local[1]
    x, ground = CENTRE[0] + scale * local[0], CENTRE[1] + nod + scale * HEIGHT_M
    wide, tall = scene.sizes[row] * scale
    if scene.classes[row] == 0:
        corner = (round(x - wide / 2), round(ground - tall)), (round(x + wide / 2), round(ground))
        cv2.rectangle(picture, *corner, label, cv2.FILLED)
        return
    step = np.linalg.norm(scene.speeds[row]) * np.sin(5.5 * time_s + scene.phases[row]) * 0.25 * scale
    body = (round(x), round(ground - 0.6 * tall)), (max(round(0.45 * wide), 1), max(round(0.25 * tall), 1))
    cv2.ellipse(picture, *body, 0, 0, 360, label, cv2.FILLED)
    cv2.circle(picture, (round(x), round(ground - 0.92 * tall)), max(round(0.07 * tall), 1), label, cv2.FILLED)
    for foot in (x - step, x + step):
        hip = round(x), round(ground - 0.45 * tall)
        cv2.line(picture, hip, (round(foot), round(ground)), label, max(round(0.2 * wide), 1))
