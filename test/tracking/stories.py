"""Detections and stories for the tests of the tracker."""

import numpy as np

from wsperception.tracking import FullSettings, Tracker, TrackerSettings
from wsperception.types import Instances

SIZE = (100, 300)
EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def detections(
    boxes: list[list[float]],
    embeddings: list[list[float]] | None = None,
    scores: list[float] | None = None,
    classes: list[int] | None = None,
    size: tuple[int, int] = SIZE,
) -> Instances:
    """Detections of class 0, score 0.95 and embedding EAST unless said otherwise."""
    count = len(boxes)
    made = np.array(boxes, np.float32).reshape(count, 4)
    return Instances(
        made,
        made,
        np.ones((count, 2, 2), np.float32),
        np.array(scores if scores is not None else [0.95] * count, np.float32),
        np.array(classes if classes is not None else [0] * count, np.int32),
        np.array(embeddings if embeddings is not None else [EAST] * count, np.float32).reshape(count, 2),
        size,
    )


def at(x: float, y: float = 30.0, side: float = 20.0) -> list[float]:
    """A square box."""
    return [x, y, x + side, y + side]


NOTHING = detections([])


def moving(rate: int, seconds: float, speed: float, start: float = 20.0, **values: object) -> list[Instances]:
    """One object at `speed` pixels per second."""
    return [detections([at(start + speed * k / rate)], **values) for k in range(round(seconds * rate) + 1)]


def full(**values: object) -> TrackerSettings:
    """The full association, tracks confirmed at once unless said otherwise."""
    outer = {name: values.pop(name) for name in ("min_score", "max_id") if name in values}
    return TrackerSettings(
        **{"min_score": 0.5, **outer}, association="full", full=FullSettings(**{"confirm_s": 0.0, **values})
    )


def run(tracker: Tracker, frames: list[Instances], interval_s: float = 0.1) -> list[list[int]]:
    """Ids of each frame."""
    return [tracker.update(frame, round(index * interval_s * 1e9)).tolist() for index, frame in enumerate(frames)]


def random_story(seed: int, frames: int = 15, lowest: float = 0.05) -> list[Instances]:
    """Objects of two classes on a walk, with misses, births and scores from `lowest` to 1."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 250, (7, 2)) * [1.0, 0.3]
    angles, classes = rng.uniform(0, 2 * np.pi, 7), rng.integers(0, 2, 7)
    story = []
    for _ in range(frames):
        corners = corners + rng.normal(0, 4, corners.shape)
        seen = np.flatnonzero(rng.random(7) < 0.7)
        wobble = angles[seen] + rng.normal(0, 0.2, len(seen))
        embeddings = np.stack([np.cos(wobble), np.sin(wobble)], axis=1)
        boxes = [at(float(x), float(y)) for x, y in corners[seen]]
        scores = rng.uniform(lowest, 1.0, len(seen)).tolist()
        story.append(detections(boxes, embeddings.tolist(), scores, classes[seen].tolist()))
    return story
