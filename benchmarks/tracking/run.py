"""The tracking benchmark: all trackers on the same noisy detections. One command, resumable, seeded.

    python -m benchmarks.tracking.run --data ../shared/data --out out/tracking

runs what is not in `out` yet and then writes tables.md and hota.png there. Peers that are not installed are
skipped by name; benchmarks/tracking/peers.py says how to install them. `--splits tuning walkers traffic` shows what
settings may be chosen on, best with `--seeds 0 1 2`; the default is the report split, on which none were, with noise
that was never used to choose anything.
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tracking.conditions import CONDITIONS, Stream, stream
from benchmarks.tracking.detections import Detected, detected
from benchmarks.tracking.noise import LEVELS, NoiseLevel
from benchmarks.tracking.ours import OURS
from benchmarks.tracking.peer_settings import SETTINGS
from benchmarks.tracking.peers import PEERS, available
from benchmarks.tracking.report import write_report
from benchmarks.tracking.score import scores
from benchmarks.tracking.traffic import TRAFFIC, traffic
from benchmarks.tracking.truth import REPORT, TUNING, Truth, kitti_mots, mot15
from benchmarks.tracking.walkers import WALKERS, walkers
from wsperception.evaluation.mots import COUNTS, RATIOS
from wsperception.tracking import Tracker
from wsperception.tracking.found import NO_LABELS
from wsperception.types import Instances

SPLITS = {
    "report": REPORT,
    "tuning": TUNING,
    "walkers": WALKERS,
    "traffic": TRAFFIC,
    "mot15_tud": ("TUD-Campus", "TUD-Stadtmitte"),
}


@dataclass(frozen=True)
class Job:
    """One tracker on one split under one noise, seed and condition."""

    split: str
    level: NoiseLevel
    seed: int
    condition: str
    tracker: str

    def path(self, out: Path) -> Path:
        """Where its result lies."""
        words = (self.split, self.level.name, str(self.seed), self.condition, self.tracker)
        return out / "results" / ("-".join(words).replace(" ", "_").replace(",", "").replace("%", "percent") + ".json")


def main() -> None:
    arguments = _arguments()
    trackers = arguments.trackers or [*OURS, *available()]
    for name in sorted(set(PEERS) - set(available())):
        print(f"{name}: not installed, skipped")
    groups = [(split, level, seed) for seed in arguments.seeds for split in arguments.splits for level in LEVELS]
    for split, level, seed in groups:
        jobs = [Job(split, level, seed, condition, name) for condition in CONDITIONS for name in trackers]
        todo = [job for job in jobs if not job.path(arguments.out).exists()]
        if not todo:
            continue
        sequences = _detections(split, level, seed, arguments.data, arguments.out / "detections")
        for job in todo:
            result = _run(job, sequences)
            _write(job.path(arguments.out), result)
            shown = ", ".join(f"{c}: HOTA {100 * r['HOTA']:.1f} IDS {r['IDS']}" for c, r in result["classes"].items())
            print(f"{split} {level.name} seed {seed} {job.condition} {job.tracker}: {shown}", flush=True)
    write_report(arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with kitti_mots_gt, mot15_tud"
    )
    parser.add_argument("--out", type=Path, default=Path("out/tracking"))
    parser.add_argument("--splits", nargs="+", choices=sorted(SPLITS), default=["report", "mot15_tud"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[120, 121, 122, 123, 124], help="noise seeds")
    parser.add_argument("--trackers", nargs="*", help="only these, by name")
    return parser.parse_args()


def _detections(split: str, level: NoiseLevel, seed: int, data: Path, cache: Path) -> dict[str, Detected]:
    def truth(name: str) -> Truth:
        if split == "walkers":
            return walkers(name)
        if split == "traffic":
            return traffic(name)
        return mot15(data, name) if split == "mot15_tud" else kitti_mots(data, name)

    return {name: detected(functools.partial(truth, name), name, level, seed, cache) for name in SPLITS[split]}


def _run(job: Job, sequences: dict[str, Detected]) -> dict[str, Any]:
    """Scores of all classes, and milliseconds of CPU per frame."""
    ids: dict[str, list[np.ndarray]] = {}
    arrived: dict[str, Detected] = {}
    spent_s: list[float] = []
    for name, entry in sequences.items():
        frames = stream(entry, job.condition)
        arrived[name] = frames.detected
        ids[name] = list(_ids(job.tracker, frames, spent_s))
    result = scores(arrived, ids)
    classes = {
        name: {measure: getattr(row, measure) for measure in (*RATIOS, *COUNTS)}
        for name, row in result.combined.items()
    }
    times = np.array(spent_s) * 1e3
    objects = np.mean([len(found) for entry in arrived.values() for found in entry.instances])
    return {
        "split": job.split,
        "level": job.level.name,
        "seed": job.seed,
        "condition": job.condition,
        "tracker": job.tracker,
        "classes": classes,
        "ms_mean": float(times.mean()),
        "ms_p99": float(np.quantile(times, 0.99)),
        "objects": float(objects),
    }


def _ids(name: str, frames: Stream, spent_s: list[float]) -> Iterator[np.ndarray]:
    """Ids of each frame; the time of each call goes into `spent_s`."""
    given = frames.detected
    update = _update(name, frames.rate_hz)
    with_masks = _sees_masks(name) and given.name[:3] != "TUD"
    for position, (instances, stamp_ns) in enumerate(zip(given.instances, frames.stamps_ns, strict=True)):
        label_map = given.label_map(position) if with_masks else NO_LABELS
        start = time.thread_time()
        ids = update(instances, stamp_ns, label_map)
        spent_s.append(time.thread_time() - start)
        yield ids


def _sees_masks(name: str) -> bool:
    """Whether a tracker uses the label map; making it takes longer than tracking, so it is made for no other."""
    return name in OURS and OURS[name].association == "full" and OURS[name].full.mask_weight > 0


def _update(name: str, rate_hz: float) -> Callable[[Instances, int, np.ndarray], np.ndarray]:
    """One tracker's step: detections, stamp and label map in, ids out."""
    if name in OURS:
        return Tracker(OURS[name]).update
    step = PEERS[name](rate_hz, SETTINGS[name])
    return lambda instances, stamp_ns, label_map: step(instances)


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1))
    os.replace(part, path)


if __name__ == "__main__":
    main()
