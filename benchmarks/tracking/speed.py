"""Milliseconds per frame at 30 objects, ours and the peers', on one core.

python -m benchmarks.tracking.speed
"""

import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np

from benchmarks.tracking.ours import OURS
from benchmarks.tracking.peer_settings import SETTINGS
from benchmarks.tracking.peers import PEERS, available
from wsperception.tracking import Tracker
from wsperception.types import Instances

SIZE = (375, 1242)
FRAMES = 300


def story(objects: int, seed: int) -> list[Instances]:
    """Objects of two classes in motion; 10 % are missed in each frame, 10 % have low scores, 1 % are replaced."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [SIZE[1] - 60, SIZE[0] - 60], (objects, 2))
    velocity = rng.normal(0, 4, (objects, 2))
    sides = rng.uniform(15, 60, (objects, 2))
    classes = rng.integers(0, 2, objects).astype(np.int32)
    directions = rng.normal(size=(objects, 32))
    frames = []
    for _ in range(FRAMES):
        corners = corners + velocity
        outside = (corners < 0).any(axis=1) | (corners > [SIZE[1] - 60, SIZE[0] - 60]).any(axis=1)
        replaced = outside | (rng.random(objects) < 0.01)
        corners[replaced] = rng.uniform(0, [SIZE[1] - 60, SIZE[0] - 60], (replaced.sum(), 2))
        directions[replaced] = rng.normal(size=(replaced.sum(), 32))
        rows = rng.permutation(np.flatnonzero(rng.random(objects) < 0.9))
        boxes = np.concatenate([corners[rows], corners[rows] + sides[rows]], axis=1).astype(np.float32)
        embeddings = directions[rows] + rng.normal(0, 0.5, (len(rows), 32))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        scores = np.where(rng.random(len(rows)) < 0.1, 0.3, 0.95).astype(np.float32)
        masks = np.zeros((len(rows), 1, 1), np.float32)
        frames.append(Instances(boxes, boxes, masks, scores, classes[rows], embeddings.astype(np.float32), SIZE))
    return frames


def label_map(instances: Instances) -> np.ndarray:
    """Boxes painted one over the other."""
    ids = np.zeros(SIZE, np.uint16)
    for row, (x0, y0, x1, y1) in enumerate(instances.boxes.astype(int).tolist(), start=1):
        ids[y0:y1, x0:x1] = row
    return ids


def main() -> None:
    for objects in (5, 30, 300):
        frames = story(objects, seed=objects)
        for name, settings in OURS.items():
            # The map is painted right before it is used, as in the pipeline.
            given = ((frame, index * 10**8, label_map(frame)) for index, frame in enumerate(frames))
            _show(name, objects, _times(Tracker(settings).update, given))
        for name in available():
            update = PEERS[name](10.0, SETTINGS[name])
            _show(name, objects, _times(update, ((frame,) for frame in frames)))


def _times(update: Callable[..., np.ndarray], given: Iterable[tuple[object, ...]]) -> list[float]:
    times = []
    for arguments in given:
        start = time.thread_time()  # what else runs does not count; it is the wall time on an idle machine
        update(*arguments)
        times.append((time.thread_time() - start) * 1e3)
    return times[10:]


def _show(name: str, objects: int, times: list[float]) -> None:
    p99 = statistics.quantiles(times, n=100)[98]
    print(f"{objects} objects, {name}: p50 {statistics.median(times):.3f} ms, p99 {p99:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
