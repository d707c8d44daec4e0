"""Settings of the peers: the best of a grid on the tuning sequences and the walkers, middle noise, 10 Hz, seed 0.

    python -m benchmarks.tracking.peer_settings --data ../shared/data --cache out/tracking/detections

prints the table from which SETTINGS was copied; ByteTrack's come from a wider grid (32 combinations, all levels, 10 and
5 Hz) that was run on a faster re-writing with the same ids. Times are in seconds, so that 5 Hz needs no other settings;
what counts frames (`minimum_consecutive_frames`, `initialization_delay`) is part of the grid at 10 Hz, where the
packages' defaults are made for 30 Hz.
"""

import argparse
import functools
import itertools
from pathlib import Path
from typing import Any

from benchmarks.tracking.detections import detected
from benchmarks.tracking.noise import LEVELS
from benchmarks.tracking.peers import OWN_DEFAULTS, PEERS, available
from benchmarks.tracking.score import scores
from benchmarks.tracking.truth import TUNING, kitti_mots
from benchmarks.tracking.walkers import WALKERS, walkers

SETTINGS: dict[str, dict[str, Any]] = {
    "SORT": {
        **OWN_DEFAULTS["SORT"],
        "track_activation_threshold": 0.5,
        "minimum_consecutive_frames": 2,
        "minimum_iou_threshold": 0.1,
    },
    "ByteTrack": {**OWN_DEFAULTS["ByteTrack"], "high_conf_det_threshold": 0.4},
    "Norfair": {"min_score": 0.25, "lost_s": 1.0, "distance_threshold": 0.9, "initialization_delay": 1},
}

GRID: dict[str, dict[str, list[Any]]] = {
    "SORT": {
        "min_score": [0.25, 0.4],
        "track_activation_threshold": [0.5],
        "minimum_consecutive_frames": [2, 3],
        "minimum_iou_threshold": [0.1, 0.3],
    },
    "ByteTrack": {
        "track_activation_threshold": [0.6, 0.7],
        "minimum_consecutive_frames": [1, 2],
        "high_conf_det_threshold": [0.4, 0.6],
    },
    "Norfair": {
        "min_score": [0.25, 0.4],
        "distance_threshold": [0.7, 0.9],
        "initialization_delay": [1, 2],
        "lost_s": [1.0],
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("out/tracking/detections"))
    parser.add_argument("--peers", nargs="*", default=list(available()))
    arguments = parser.parse_args()
    middle = LEVELS[1]
    truths = {name: functools.partial(kitti_mots, arguments.data, name) for name in TUNING}
    truths |= {name: functools.partial(walkers, name) for name in WALKERS}
    sequences = {name: detected(read, name, middle, 0, arguments.cache) for name, read in truths.items()}
    for name in arguments.peers:
        rows = []
        for values in [{}, *_combinations(GRID[name])]:
            settings = {**OWN_DEFAULTS[name], **values}
            ids = {}
            for sequence, entry in sequences.items():
                update = PEERS[name](entry.rate_hz, settings)
                ids[sequence] = [update(instances) for instances in entry.instances]
            result = scores(sequences, ids).combined
            mean = sum(r.HOTA + r.AssA + r.IDF1 for r in result.values()) / (3 * len(result))
            rows.append((mean, values))
            text = ", ".join(f"{c} {r.HOTA:.3f} {r.AssA:.3f} {r.IDF1:.3f} {r.IDS}" for c, r in result.items())
            print(f"{name} {mean:.4f} {values or 'own defaults'}: {text}", flush=True)
        print(f"{name} best: {max(rows, key=lambda row: row[0])}", flush=True)


def _combinations(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


if __name__ == "__main__":
    main()
