"""The noise model: what a detector would have made of the ground truth. Seeded; the README documents it.

Every object carries slow Gaussian processes (AR(1), unit variance, correlation time `MEMORY_S`): one for how well the
detector sees it, four for its box. Occlusion and small size lower the score; a score below FLOOR is a miss, so misses
come in runs and with occlusion. False detections live for some frames as well: spots of background, and parts of
real objects. Masks are disturbed on their grid by a smooth random field.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.tracking.truth import GRID, Truth, TruthFrame
from wsperception.geometry import clip_boxes
from wsperception.types import Instances

FLOOR = 0.1
"""Detections with a lower score are not handed out."""
MEMORY_S = 0.4
GHOST_LIFE_S = 0.3
"""Mean life of a false detection."""


@dataclass(frozen=True)
class NoiseLevel:
    """One level of noise.

    clarity        logit of the score of a large object that nothing hides
    spread         standard deviation of that logit, per object over time
    occlusion      logits lost per share of the box that others cover
    smallness      logits lost each time the height halves below 40 pixels
    blink          probability of a miss for no reason
    ghosts         new false detections per second in the background
    parts          new false detections per second and object, on a part of it
    ghost_clarity  mean logit of the score of a false detection
    box            standard deviation of centre and of log side, as share of the side; half of the variance is slow
    mask           standard deviation of the field added to the mask's share of a cell
    """

    name: str
    clarity: float
    spread: float
    occlusion: float
    smallness: float
    blink: float
    ghosts: float
    parts: float
    ghost_clarity: float
    box: float
    mask: float


LEVELS = (
    NoiseLevel("low", 3.6, 1.0, 3.0, 0.5, 0.01, 0.5, 0.02, -0.5, 0.025, 0.15),
    NoiseLevel("middle", 2.2, 1.5, 4.0, 0.7, 0.03, 2.0, 0.05, 0.0, 0.05, 0.25),
    NoiseLevel("high", 1.2, 1.9, 5.0, 0.9, 0.06, 5.0, 0.12, 0.2, 0.085, 0.35),
)


@dataclass
class Ghost:
    """A false detection while it lasts; `owner` is the track id of the object it sticks to, or -1."""

    owner: int
    box: np.ndarray
    mask: np.ndarray
    class_id: int
    logit: float
    velocity: np.ndarray


def detections(truth: Truth, level: NoiseLevel, seed: int) -> list[Instances]:
    """Noisy detections of every frame. Embeddings are (N, 1) ones: there is no appearance."""
    rng = np.random.default_rng([seed, zlib.crc32(truth.name.encode()), zlib.crc32(level.name.encode())])
    keep = float(np.exp(-1.0 / (truth.rate_hz * MEMORY_S)))
    slow: dict[int, np.ndarray] = {}
    ghosts: list[Ghost] = []
    frames = []
    for frame in truth.frames:
        for track_id in frame.track_ids.tolist():
            fresh = rng.normal(size=5)
            slow[track_id] = keep * slow[track_id] + np.sqrt(1.0 - keep**2) * fresh if track_id in slow else fresh
        found = _seen(frame, level, slow, rng)
        ghosts = _ghosts(ghosts, frame, truth, level, rng)
        frames.append(_instances(found, ghosts, frame, truth.image_size, level, rng))
    return frames


def _seen(
    frame: TruthFrame, level: NoiseLevel, slow: dict[int, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, masks, scores and classes of the real objects that are found."""
    count = len(frame.track_ids)
    states = np.array([slow[track_id] for track_id in frame.track_ids.tolist()]).reshape(count, 5)
    height = np.maximum(frame.boxes[:, 3] - frame.boxes[:, 1], 1.0)
    logits = (
        level.clarity
        + level.spread * (0.85 * states[:, 0] + 0.53 * rng.normal(size=count))
        - level.occlusion * frame.hidden
        - level.smallness * np.maximum(np.log2(40.0 / height), 0.0)
    )
    scores = 1.0 / (1.0 + np.exp(-logits))
    boxes = _shaken(frame.boxes, level.box * np.sqrt(0.5) * (states[:, 1:] + rng.normal(size=(count, 4))))
    found = (scores >= FLOOR) & (rng.random(count) >= level.blink)
    return boxes[found], frame.masks[found], scores[found], frame.class_ids[found]


def _shaken(boxes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Boxes with centre moved and sides scaled by `shares` (N, 4) of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2 + shares[:, :2] * sides
    sides = sides * np.exp(shares[:, 2:])
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def _ghosts(
    ghosts: list[Ghost], frame: TruthFrame, truth: Truth, level: NoiseLevel, rng: np.random.Generator
) -> list[Ghost]:
    """The false detections of this frame: those that live on, moved, and new ones."""
    stay = float(np.exp(-1.0 / (truth.rate_hz * GHOST_LIFE_S)))
    boxes = dict(zip(frame.track_ids.tolist(), frame.boxes, strict=True))
    living = []
    for ghost in ghosts:
        if rng.random() < stay and (ghost.owner < 0 or ghost.owner in boxes):
            ghost.box = ghost.box + np.tile(ghost.velocity / truth.rate_hz, 2)
            living.append(ghost)
    height, width = truth.image_size
    for _ in range(rng.poisson(level.ghosts / truth.rate_hz)):
        tall = float(np.exp(rng.uniform(np.log(20.0), np.log(120.0))))
        class_id = int(rng.integers(2)) if truth.sequence is not None else 1
        side = np.array([tall * (1.6 if class_id == 0 else 0.45), tall])
        corner = rng.uniform([0.0, height * 0.35], [width - side[0], height - min(side[1], height * 0.6)])
        x, y = np.meshgrid(np.linspace(-1, 1, GRID), np.linspace(-1, 1, GRID))
        disc = (x**2 + y**2 < 1.0).astype(np.float32)
        velocity = rng.normal(0.0, 15.0, 2)
        living.append(Ghost(-1, np.concatenate([corner, corner + side]), disc, class_id, _logit(level, rng), velocity))
    for row in np.flatnonzero(rng.random(len(frame.boxes)) < level.parts / truth.rate_hz):
        low, high = np.sort(rng.uniform(0, 1, (2, 2)), axis=0)
        high = np.minimum(np.maximum(high, low + 0.35), 1.0)
        box = np.concatenate([low, high])
        owner = int(frame.track_ids[row])
        solid = np.ones((GRID, GRID), np.float32)
        living.append(Ghost(owner, box, solid, int(frame.class_ids[row]), _logit(level, rng), np.zeros(2)))
    return living


def _logit(level: NoiseLevel, rng: np.random.Generator) -> float:
    return float(rng.normal(level.ghost_clarity, 1.0))


def _instances(
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    ghosts: list[Ghost],
    frame: TruthFrame,
    image_size: tuple[int, int],
    level: NoiseLevel,
    rng: np.random.Generator,
) -> Instances:
    """Everything found, real and false, as the network would give it: boxes clipped, masks disturbed."""
    boxes, masks, scores, class_ids = found
    anchors = dict(zip(frame.track_ids.tolist(), frame.boxes, strict=True))
    for ghost in ghosts:
        logit = ghost.logit + rng.normal(0.0, 0.5)
        place = ghost.box if ghost.owner < 0 else _inside(ghost.box, anchors[ghost.owner])
        place = _shaken(place[None], rng.normal(0.0, level.box, (1, 4)))
        boxes = np.concatenate([boxes, place])
        masks = np.concatenate([masks, ghost.mask[None]])
        scores = np.append(scores, 1.0 / (1.0 + np.exp(-logit)))
        class_ids = np.append(class_ids, np.int32(ghost.class_id))
    kept = scores >= FLOOR
    boxes = boxes[kept].astype(np.float32)
    grids = boxes.copy()
    boxes = clip_boxes(boxes, image_size)
    large = ((boxes[:, 2:] - boxes[:, :2]) >= 2.0).all(axis=1)
    count = int(large.sum())
    return Instances(
        boxes[large],
        grids[large],
        _disturbed(masks[kept][large], level, rng),
        scores[kept][large].astype(np.float32),
        class_ids[kept][large].astype(np.int32),
        np.ones((count, 1), np.float32),
        image_size,
    )


def _inside(shares: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of `box` that `shares` (x0 y0 x1 y1, 0 to 1) names."""
    side = np.tile(box[2:] - box[:2], 2)
    part: np.ndarray = np.tile(box[:2], 2) + shares * side
    return part


def _disturbed(masks: np.ndarray, level: NoiseLevel, rng: np.random.Generator) -> np.ndarray:
    """Masks with a smooth random field added: bumps and dents of about a quarter of the box."""
    coarse = rng.normal(0.0, level.mask, (len(masks), 5, 5)).astype(np.float32)
    fields = [cv2.resize(field, (GRID, GRID), interpolation=cv2.INTER_CUBIC) for field in coarse]
    noisy: np.ndarray = np.clip(masks + np.array(fields, np.float32).reshape(masks.shape), 0.0, 1.0)
    return noisy
