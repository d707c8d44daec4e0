"""Community Learning from image tags, row by row: what class maps, segmentation and box regression add to a detector.

    python -m benchmarks.tags.run --out out/tags

Goes on where it stopped: a (row, seed) that has its result is not repeated. Writes table.md below --out.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.tags import community
from benchmarks.tags.community import ROWS, Sample, Schedule
from benchmarks.tags.report import read_results, table
from benchmarks.tags.scenes import draw_scenes

TRAIN_SEED, VAL_SEED = 500, 501
"""Of the scenes."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 --out holds results of other settings."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    out: Path = options.out
    schedule = Schedule(warm_up=options.warm_up, iterations=options.iterations)
    settings = asdict(schedule) | {"train_scenes": options.train_scenes, "val_scenes": options.val_scenes}
    if not _same_settings(out / "settings.json", settings):
        print(f"{out}: holds results of other settings, see settings.json; expected a new folder", file=sys.stderr)
        return 2
    missing = [(row, seed) for seed in options.seeds for row in options.rows if not _result(out, row, seed).exists()]
    if missing:
        train = community.samples(draw_scenes(options.train_scenes, TRAIN_SEED), out / "proposals")
        val = community.samples(draw_scenes(options.val_scenes, VAL_SEED), out / "proposals")
        for row, seed in missing:
            _measure(out, row, seed, schedule, train, val)
    text = table(read_results(out / "results"))
    _write(out / "table.md", text)
    print(text)
    return 0


def _measure(out: Path, row: str, seed: int, schedule: Schedule, train: list[Sample], val: list[Sample]) -> None:
    warm = out / f"warm-{seed}.pt"
    if not warm.exists():
        torch.save(community.warm_backbone(train, schedule, seed), warm.with_suffix(".partial"))
        os.replace(warm.with_suffix(".partial"), warm)
    started = time.process_time()
    method, history = community.train_row(ROWS[row], torch.load(warm, weights_only=True), train, schedule, seed)
    values = community.score_row(method, train, val).mapping() | {"cpu_seconds": time.process_time() - started}
    _write(_result(out, row, seed), json.dumps({"scores": values, "history": history[:: max(1, len(history) // 20)]}))
    print(f"{row}, seed {seed}: {', '.join(f'{name} {value:.1f}' for name, value in values.items())}", flush=True)


def _result(out: Path, row: str, seed: int) -> Path:
    return out / "results" / f"{row}-{seed}.json"


def _same_settings(path: Path, settings: dict[str, float]) -> bool:
    """Whether `path` holds these settings; written where it is not there yet."""
    if path.exists():
        return bool(json.loads(path.read_text()) == settings)
    _write(path, json.dumps(settings))
    return True


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text)
    os.replace(temporary, path)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help="%(choices)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=Schedule.iterations, help="steps of each row")
    parser.add_argument("--warm-up", type=int, default=Schedule.warm_up, help="steps on tags of whole images before")
    parser.add_argument("--train-scenes", type=int, default=200)
    parser.add_argument("--val-scenes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
