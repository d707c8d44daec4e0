"""The tracker's step beside ByteTrack (Roboflow's trackers) and Norfair at 20, 100 and 300 objects, taking turns.

    pip install trackers norfair   (in an environment of its own)
    python -m benchmarks.deployment.tracker [--objects 20 100 300] [--frames 100]

Scene, peers and their settings are those of benchmarks/tracking. Times are the calling thread's processor time.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.tracking.ours import OURS
from benchmarks.tracking.peer_settings import SETTINGS
from benchmarks.tracking.peers import PEERS, available
from benchmarks.tracking.speed import label_map, story
from wsperception.tracking import Tracker
from wsperception.types import Instances

WARM_UP, AIM = 10, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--frames", type=int, default=100, help="of 300 at most; Norfair takes half a second for each")
    arguments = parser.parse_args()
    names = available()
    if not names:
        print("no peer is installed: pip install trackers norfair")
    for objects in arguments.objects:
        frames = story(objects, seed=objects)[: arguments.frames]
        times = step_times(frames, names)
        print(
            f"\n| {objects} objects | p50 ms | p99 ms | paper's setting is faster by (aim {AIM}) |\n|---|---|---|---|"
        )
        base = statistics.median(times["ours: paper"])
        for name, values in times.items():
            median, p99 = statistics.median(values), statistics.quantiles(values, n=100)[98]
            print(f"| {name} | {median:.3f} | {p99:.3f} | {median / base:.2f} |", flush=True)


def step_times(frames: list[Instances], peers: Sequence[str]) -> dict[str, list[float]]:
    """Milliseconds of every step after the first few; every frame is given to all before the next one."""
    updates: dict[str, Callable[[Instances, int, np.ndarray], object]] = {}
    for name, settings in OURS.items():
        updates[f"ours: {name}"] = _ours(Tracker(settings))
    for name in peers:
        updates[name] = _peer(PEERS[name](10.0, SETTINGS[name]))
    times: dict[str, list[float]] = {name: [] for name in updates}
    for index, frame in enumerate(frames):
        ids = label_map(frame)
        for name, update in updates.items():
            start = time.thread_time()
            update(frame, index, ids)
            times[name].append((time.thread_time() - start) * 1e3)
    return {name: values[WARM_UP:] for name, values in times.items()}


def _ours(tracker: Tracker) -> Callable[[Instances, int, np.ndarray], object]:
    return lambda frame, index, ids: tracker.update(frame, index * 10**8, ids)


def _peer(update: Callable[[Instances], object]) -> Callable[[Instances, int, np.ndarray], object]:
    return lambda frame, index, ids: update(frame)


if __name__ == "__main__":
    main()
