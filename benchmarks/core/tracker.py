"""Milliseconds per frame of the tracker, at 30 and at 300 objects.

Run from the repository root: `python benchmarks/core/tracker.py`
"""

import statistics
import time

import numpy as np

from wsperception.tracking import Tracker
from wsperception.types import Instances

SIZE = (375, 1242)
FRAMES = 300


def story(objects: int, seed: int) -> list[Instances]:
    """Objects of two classes on a random walk; 5 % are missed in each frame, and 1 % are replaced by new ones."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [SIZE[1] - 60, SIZE[0] - 60], (objects, 2))
    sides = rng.uniform(15, 60, (objects, 2))
    classes = rng.integers(0, 2, objects).astype(np.int32)
    directions = rng.normal(size=(objects, 8))
    frames = []
    for _ in range(FRAMES):
        corners = np.clip(corners + rng.normal(0, 2, corners.shape), 0, [SIZE[1] - 60, SIZE[0] - 60])
        replaced = rng.random(objects) < 0.01
        corners[replaced] = rng.uniform(0, [SIZE[1] - 60, SIZE[0] - 60], (replaced.sum(), 2))
        directions[replaced] = rng.normal(size=(replaced.sum(), 8))
        rows = rng.permutation(np.flatnonzero(rng.random(objects) < 0.95))
        boxes = np.concatenate([corners[rows], corners[rows] + sides[rows]], axis=1).astype(np.float32)
        embeddings = directions[rows] + rng.normal(0, 0.1, (len(rows), 8))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        frames.append(
            Instances(
                boxes,
                boxes,
                np.ones((len(rows), 28, 28), np.float32),
                rng.uniform(0.9, 1.0, len(rows)).astype(np.float32),
                classes[rows],
                embeddings.astype(np.float32),
                SIZE,
            )
        )
    return frames


def main() -> None:
    for objects, limit in ((30, 0.3), (300, 10.0)):
        frames = story(objects, seed=objects)
        tracker = Tracker()
        times = []
        for index, frame in enumerate(frames):
            start = time.thread_time()  # what else runs does not count; it is the wall time on an idle machine
            tracker.update(frame, index)
            times.append((time.thread_time() - start) * 1e3)
        times = times[10:]
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"tracker, {objects} objects: p50 {statistics.median(times):.3f} ms, p99 {p99:.3f} ms (aim {limit} ms)")


if __name__ == "__main__":
    main()
