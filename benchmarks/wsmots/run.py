"""Masks from boxes and ids against masks from masks: the same network, schedule and seeds, row by row.

    python -m benchmarks.wsmots.run --out out/wsmots
    python -m benchmarks.wsmots.run --out out/wsmots-cuda --device cuda

Goes on where it stopped: a (row, seed) that has its result is not repeated, one that was cut short resumes at its last
checkpoint. Writes table.md and ablation.png below --out.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.wsmots.report import KNOWN, plot, read_results, tables
from benchmarks.wsmots.rows import CLASSES, MEASURES, ROWS, WARM_START, Row
from benchmarks.wsmots.scenes import Scenes, write_scenes
from benchmarks.wsmots.true_boxes import write_true_box_masks
from wsperception.evaluation.command import evaluate_command
from wsperception.track import TrackRequest, run_track

ROOT = Path(__file__).resolve().parents[2]
SILHOUETTES = ROOT.parent / "shared/data/kitti_mots_gt/instances_txt"


@dataclass(frozen=True)
class Bench:
    """What all rows share."""

    out: Path
    train: Path
    val: Path
    device: str
    config: Path
    warm_iterations: int
    score: float
    jobs: int
    changes: tuple[str, ...]


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    scenes = Scenes(
        options.train_clips, options.train_frames, options.val_clips, options.val_frames, tuple(options.size)
    )
    silhouettes = None if options.synthetic or not options.silhouettes.is_dir() else options.silhouettes
    print("silhouettes of KITTI MOTS" if silhouettes else "synthetic silhouettes", flush=True)
    train, val = write_scenes(options.out / "drives", scenes, silhouettes, options.jobs)
    config = options.config or Path(__file__).with_name("cuda.yaml" if options.device == "cuda" else "cpu.yaml")
    changes = tuple(options.set)
    if options.iterations is not None:
        changes += (f"training.iterations={options.iterations}",)
    bench = Bench(
        options.out, train, val, options.device, config, options.warm_iterations, options.score, options.jobs, changes
    )
    for seed in options.seeds:
        warm = bench.out / "runs" / f"warm-{seed}"
        for name in options.rows:
            result = bench.out / "results" / f"{name}-{seed}.json"
            if result.exists():
                continue
            _train(bench, WARM_START, warm, seed, (f"training.iterations={bench.warm_iterations}",), None)
            run = bench.out / "runs" / f"{name}-{seed}"
            _train(bench, KNOWN[name], run, seed, (), warm / "weights.pt")
            _write_json(result, _score(bench, run))
            print(f"{name}, seed {seed}: {result.read_text()}", flush=True)
    results = read_results(bench.out / "results")
    text = tables(results)
    (bench.out / "table.md").write_text(text)
    plot({row: seeds for row, seeds in results.items() if row in ROWS}, bench.out / "ablation.png")
    print(text)


def _train(bench: Bench, row: Row, run: Path, seed: int, last: tuple[str, ...], init: Path | None) -> None:
    """Trains a row to the end, from where it stopped."""
    if (run / "weights.pt").exists():
        return
    command = [
        sys.executable, str(ROOT / "training/train.py"), "--method", "wsmots", "--data", str(bench.train),
        "--out", str(run), "--config", str(bench.config), "--seed", str(seed), "--device", bench.device,
        "--cache", str(bench.out / "cache"), "--resume", "auto", "--workers", str(bench.jobs),
    ]  # fmt: skip
    if init is not None:
        command += ["--init", str(init)]
    for change in (*bench.changes, *row.changes, *last):
        command += ["--set", change]
    subprocess.run(command, check=True, cwd=ROOT)


def _score(bench: Bench, run: Path) -> dict[str, dict[str, float]]:
    """Class -> measure -> per cent: of the exported model through the whole path, and of the masks in true boxes."""
    bundle, tracks, boxed = (bench.out / part / run.name for part in ("bundles", "tracks", "boxed"))
    for folder in (bundle, tracks, boxed):
        shutil.rmtree(folder, ignore_errors=True)
    names = sorted(path.name for path in (bench.val / "training/image_02").iterdir())
    images = bench.val / "training/image_02" / names[0]
    subprocess.run(
        [sys.executable, str(ROOT / "training/export.py"), "--run", str(run), "--out", str(bundle), "--images",
         str(images), "--score", str(bench.score)],
        check=True, cwd=ROOT,
    )  # fmt: skip
    for name in names:
        source = bench.val / "training/image_02" / name
        run_track(TrackRequest(source, str(bundle), tracks / name, video=False))
        shutil.move(tracks / name / f"{name}.txt", tracks / f"{name}.txt")
        shutil.rmtree(tracks / name)
    write_true_box_masks(run, bench.val, boxed, bench.device)
    whole, in_boxes = _evaluate(bench, tracks), _evaluate(bench, boxed)
    return {
        name: {measure: whole[name][measure] for measure in MEASURES} | {"box MOTSP": in_boxes[name]["MOTSP"]}
        for name in CLASSES
    }


def _evaluate(bench: Bench, tracks: Path) -> dict[str, dict[str, float]]:
    scores = tracks / "scores"
    evaluate_command(
        bench.val / "training/instances_txt", tracks, scores, seqmap=bench.val / "drive.seqmap", overwrite=True
    )
    combined = json.loads((scores / "scores.json").read_text())["combined"]
    return {
        name: {key: math.nan if value is None else value for key, value in values.items()}
        for name, values in combined.items()
    }


def _write_json(path: Path, values: dict[str, dict[str, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(values))
    os.replace(temporary, path)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(KNOWN), default=list(ROWS), metavar="ROW", help="%(choices)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--config", type=Path, help="shared recipe; default: cpu.yaml or cuda.yaml beside this file")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--iterations", type=int, help="steps of each row; default: the recipe's")
    parser.add_argument("--warm-iterations", type=int, default=300, help="steps of the detector that rows start from")
    parser.add_argument("--score", type=float, default=0.7, help="score from which on detections are tracked")
    parser.add_argument("--silhouettes", type=Path, default=SILHOUETTES, help="MOTS texts of KITTI MOTS")
    parser.add_argument("--synthetic", action="store_true", help="synthetic silhouettes also where real ones are there")
    parser.add_argument("--train-clips", type=int, default=3, help="of each of 8 training sequences")
    parser.add_argument("--train-frames", type=int, default=10)
    parser.add_argument("--val-clips", type=int, default=2, help="of each of 4 validation sequences")
    parser.add_argument("--val-frames", type=int, default=15)
    parser.add_argument("--size", type=int, nargs=2, default=(375, 1242), metavar=("H", "W"), help="synthetic images")
    parser.add_argument("--jobs", type=int, default=2, help="processes that draw and make pseudo masks")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
