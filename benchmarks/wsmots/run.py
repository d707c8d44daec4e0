"""Masks from boxes and ids against masks from masks: the same network, schedule and seeds, row by row.

    python -m benchmarks.wsmots.run --out out/wsmots
    python -m benchmarks.wsmots.run --out out/wsmots-cuda --device cuda

The network starts from MobileNetV2's weights of ImageNet where they are at hand, as the paper's does from a ResNet's.
Goes on where it stopped: a (row, seed) that has its result is not repeated, a detector that was cut short resumes at
its last checkpoint. Writes table.md and ablation.png below --out.
"""

import argparse
import json
import math
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.pretrained import PRETRAINED, ROOT, imagenet_file
from benchmarks.wsmots.mask_training import Windows, train_masks
from benchmarks.wsmots.report import KNOWN, plot, read_results, tables
from benchmarks.wsmots.rows import CLASSES, DETECTOR, MEASURES, ROWS
from benchmarks.wsmots.scenes import Scenes, write_scenes
from benchmarks.wsmots.true_boxes import write_true_box_masks
from training import train
from training.checkpoint import load_tensors
from training.export import main as export_bundle
from training.recipe import read_recipe, write_json
from training.results_folder import claim_folder
from wsperception.errors import InputError
from wsperception.evaluation.command import evaluate_command
from wsperception.track import TrackRequest, run_track

SILHOUETTES = ROOT.parent / "shared/data/kitti_mots_gt/instances_txt"
HEADS_RATE, HEADS_RATE_PRETRAINED = 2.0, 6.0
"""Learning rate of the two branches that a row trains, over that of the detector: a pretrained one learns gently, its
branches start from scratch all the same."""

NOT_DECISIVE = ("out", "rows", "seeds", "jobs")
"""Options that change nothing in a result."""


@dataclass(frozen=True)
class Bench:
    """What all rows share."""

    out: Path
    train: Path
    val: Path
    device: str
    config: Path
    detector_iterations: int
    views: int
    score: float
    jobs: int
    changes: tuple[str, ...]
    imagenet: Path | None


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    decisive = {name: str(value) for name, value in vars(options).items() if name not in NOT_DECISIVE}
    try:
        weights = None if options.pretrained is None else load_tensors(options.pretrained)
        claim_folder(options.out, decisive)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    scenes = Scenes(
        options.train_clips, options.train_frames, options.val_clips, options.val_frames, tuple(options.size)
    )
    silhouettes = None if options.synthetic or not options.silhouettes.is_dir() else options.silhouettes
    print("silhouettes of KITTI MOTS" if silhouettes else "synthetic silhouettes", flush=True)
    drives = write_scenes(options.out / "drives", scenes, silhouettes, options.jobs)
    changes = tuple(options.set)
    if options.iterations is not None:
        changes += (f"training.iterations={options.iterations}",)
    imagenet = imagenet_file(weights, options.out)
    bench = Bench(
        options.out, drives[0], drives[1], options.device, options.config, options.detector_iterations, options.views,
        options.score, options.jobs, changes, imagenet,
    )  # fmt: skip
    for seed in options.seeds:
        _run_seed(bench, seed, options.rows)
    results = read_results(bench.out / "results")
    text = tables(results)
    (bench.out / "table.md").write_text(text)
    plot({row: seeds for row, seeds in results.items() if row in ROWS}, bench.out / "ablation.png")
    print(text)


def _run_seed(bench: Bench, seed: int, names: list[str]) -> None:
    """Trains and scores what is missing of a seed."""
    windows: dict[tuple[str, object], Windows] = {}
    for name in names:
        result = bench.out / "results" / f"{name}-{seed}.json"
        if result.exists():
            continue
        run = bench.out / "runs" / f"{name}-{seed}"
        if not (run / "weights.pt").exists():
            _train_row(bench, name, seed, run, windows)
        scores = _score(bench, run)
        result.parent.mkdir(exist_ok=True)
        write_json(result, scores)
        print(f"{name}, seed {seed}: {scores}", flush=True)


def _train_row(bench: Bench, name: str, seed: int, run: Path, windows: dict[tuple[str, object], Windows]) -> None:
    """Trains the two branches of a row; `windows` is filled, and serves rows that learn from the same labels."""
    detector = bench.out / "runs" / f"detector-{seed}"
    _train_detector(bench, detector, seed)
    recipe = read_recipe("wsmots", bench.config, [*bench.changes, *KNOWN[name].changes, f"training.seed={seed}"])
    rate = HEADS_RATE if bench.imagenet is None else HEADS_RATE_PRETRAINED
    faster = replace(recipe.training, learning_rate=rate * recipe.training.learning_rate)
    recipe = replace(recipe, training=faster)
    kind = (recipe.training.supervision, recipe.method.pseudo_masks)
    if kind not in windows:
        count = max(bench.views // recipe.training.batch, 1)
        windows[kind] = Windows(bench.train, recipe, count, bench.out / "cache", bench.jobs)
    train_masks(recipe, windows[kind], detector / "weights.pt", run, bench.device)


def _train_detector(bench: Bench, run: Path, seed: int) -> None:
    """Trains what all rows of a seed share to the end, from where it stopped."""
    if (run / "weights.pt").exists():
        return
    arguments = [
        "--method", "wsmots", "--data", str(bench.train), "--out", str(run), "--config", str(bench.config),
        "--seed", str(seed), "--device", bench.device, "--cache", str(bench.out / "cache"), "--resume", "auto",
        "--workers", str(bench.jobs), *([] if bench.imagenet is None else ["--imagenet", str(bench.imagenet)]),
    ]  # fmt: skip
    for change in (*bench.changes, *DETECTOR.changes, f"training.iterations={bench.detector_iterations}"):
        arguments += ["--set", change]
    _exit_on_failure(train.main(arguments))


def _score(bench: Bench, run: Path) -> dict[str, dict[str, float]]:
    """Class -> measure -> per cent: of the exported model through the whole path, and of the masks in true boxes."""
    bundle, tracks, boxed = (bench.out / part / run.name for part in ("bundles", "tracks", "boxed"))
    for folder in (bundle, tracks, boxed):
        shutil.rmtree(folder, ignore_errors=True)
    names = sorted(path.name for path in (bench.val / "training/image_02").iterdir())
    images = bench.val / "training/image_02" / names[0]
    _exit_on_failure(
        export_bundle(["--run", str(run), "--out", str(bundle), "--images", str(images), "--score", str(bench.score)])
    )
    for name in names:
        source = bench.val / "training/image_02" / name
        run_track(TrackRequest(source, str(bundle), tracks / name, video=False))
        shutil.move(tracks / name / f"{name}.txt", tracks / f"{name}.txt")
        shutil.rmtree(tracks / name)
    write_true_box_masks(run, bench.val, boxed, bench.device)
    whole, in_boxes = _evaluate(bench, tracks), _evaluate(bench, boxed)
    return {
        name: {measure: whole[name][measure] for measure in MEASURES}
        | {"box MOTSP": in_boxes[name]["MOTSP"], "box recall": in_boxes[name]["recall"]}
        | _lost(whole[name])
        for name in CLASSES
    }


def _lost(scores: dict[str, float]) -> dict[str, float]:
    """What is missing to an sMOTSA of 100, in points, by its cause (WSMOTS Eq. 12-14)."""
    truth = scores["TP"] + scores["FN"]
    counts = {"missed": scores["FN"], "false": scores["FP"], "switched": scores["IDS"]}
    shares = {name: 100.0 * count / truth if truth else math.nan for name, count in counts.items()}
    return shares | {"inexact": scores["MOTSA"] - scores["sMOTSA"]}


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


def _exit_on_failure(status: int) -> None:
    """Ends the comparison where a step of it failed, which has said why."""
    if status:
        raise SystemExit(status)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(KNOWN), default=list(ROWS), metavar="ROW", help="%(choices)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--config", type=Path, help="shared recipe, from scratch; default: cuda.yaml beside this file on a GPU, "
        "mobile.yaml with --pretrained, else cpu.yaml",
    )  # fmt: skip
    parser.add_argument(
        "--pretrained", type=Path, metavar="FILE",
        help="start from MobileNetV2's ImageNet weights for images (p - 128) / 128, with torchvision's names; "
        f"default with neither --config nor a GPU: {PRETRAINED}",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--iterations", type=int, help="steps of each row; default: the recipe's")
    parser.add_argument("--detector-iterations", type=int, default=1000, help="steps of the detector of a seed")
    parser.add_argument("--views", type=int, default=800, help="augmented images that masks are learnt on, in rounds")
    parser.add_argument("--score", type=float, default=0.9, help="score from which on detections are tracked")
    parser.add_argument("--silhouettes", type=Path, default=SILHOUETTES, help="MOTS texts of KITTI MOTS")
    parser.add_argument("--synthetic", action="store_true", help="synthetic silhouettes also where real ones are there")
    parser.add_argument("--train-clips", type=int, default=5, help="of each of 8 training sequences")
    parser.add_argument("--train-frames", type=int, default=10)
    parser.add_argument("--val-clips", type=int, default=2, help="of each of 4 validation sequences")
    parser.add_argument("--val-frames", type=int, default=15)
    parser.add_argument("--size", type=int, nargs=2, default=(375, 1242), metavar=("H", "W"), help="synthetic images")
    parser.add_argument("--jobs", type=int, default=2, help="processes that draw and make pseudo masks")
    options = parser.parse_args(arguments)
    if options.config is None and options.device == "cpu":
        options.pretrained = options.pretrained or PRETRAINED
    if options.config is None:
        name = "mobile" if options.pretrained else "cuda" if options.device == "cuda" else "cpu"
        options.config = Path(__file__).with_name(f"{name}.yaml")
    return options


if __name__ == "__main__":
    main()
