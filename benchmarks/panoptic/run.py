"""Panoptic segmentation from boxes and tags against full labels: the same networks, steps and seeds, row by row.

    python -m benchmarks.panoptic.run --out out/panoptic

Two synthetic drives to learn from and one to be scored on. Every row trains for the same four rounds, each from the
weights of the one before; things come from the boxes of one detector, the same for all rows. Goes on where it stopped.
Writes table.md and streets.jpg below --out, and pages of labels and of mistakes beside the runs and scores.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.panoptic.report import LAST, SHOWN, class_table, table, write_picture
from benchmarks.pretrained import PRETRAINED, ROOT, imagenet_file
from training.checkpoint import load_tensors
from training.results_folder import claim_folder
from wsperception.data.coco_panoptic import open_sequences
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import write_drive
from wsperception.errors import InputError
from wsperception.learn.panoptic.crop_tags import write_tags

TRAIN_SEEDS, VAL_SEED = (8100, 8200), 8300
"""Of the drives."""
ROWS = {"full": ((0, 1), ()), "weak": ((), (0, 1)), "semi": ((0,), (1,))}
"""Row -> which of the two drives it knows full labels of, and of which only boxes and tags."""
SHARED = ("config", "set", "pretrained", "detector", "train", "val", "frames", "size", "crop", "share")
"""Options that decide the results."""
CONFIGS = {True: ROOT / "config/panoptic-mobile.yaml", False: ROOT / "config/panoptic-tiny.yaml"}
"""The recipe with weights of ImageNet, and the one from scratch."""
ROUNDS_SCORED = {"full": range(LAST + 1), "weak": range(LAST + 1), "semi": (LAST,)}


@dataclass(frozen=True)
class Bench:
    """What all rows of a seed share."""

    out: Path
    drives: tuple[Path, ...]
    val: Path
    config: Path
    seed: int
    changes: tuple[str, ...]
    detector: str
    imagenet: Path | None


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 --out holds results of other settings, or --pretrained is no file of weights."""
    options = _parse(arguments)
    try:
        weights = None if options.pretrained is None else load_tensors(options.pretrained)
        claim_folder(options.out, {name: str(getattr(options, name)) for name in SHARED})
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    drives = tuple(_drive(options, f"train-{seed}", seed, options.train) for seed in TRAIN_SEEDS)
    val = _drive(options, "val", VAL_SEED, options.val)
    imagenet = imagenet_file(weights, options.out)
    for seed in options.seeds:
        bench = Bench(options.out, drives, val, options.config, seed, tuple(options.set), options.detector, imagenet)
        for row in options.rows:
            _train_row(bench, row)
            for number in ROUNDS_SCORED[row]:
                _score(bench, row, number)
    text = table(options.out / "scores") + "\n" + class_table(options.out / "scores")
    (options.out / "table.md").write_text(text)
    write_picture(options.out / "streets.jpg", val, options.out / "scores", options.seeds[0], SHOWN)
    print(text)
    return 0


def _drive(options: argparse.Namespace, name: str, seed: int, sequences: int) -> Path:
    """A drive with panoptic labels, and tags of its crops; made where it is missing."""
    folder: Path = options.out / "drives" / name
    if not folder.exists():
        settings = DriveSettings(seed=seed, frames=options.frames, height=options.size[0], width=options.size[1])
        write_drive(folder, settings, sequences=sequences, jobs=options.jobs, bag=False, panoptic=True)
    if not (folder / "training/tags.json").exists():
        sets = open_sequences(folder / "training/panoptic")
        write_tags(folder / "training/tags.json", sets, (options.crop[0], options.crop[1]), options.share)
    return folder


def _train_row(bench: Bench, row: str) -> None:
    full, weak = ([bench.drives[place] for place in places] for places in ROWS[row])
    known = _run_of(bench, "weak") / "tags"
    if row == "semi" and known.exists() and not (_run_of(bench, row) / "tags").exists():
        shutil.copytree(known, _run_of(bench, row) / "tags")  # whoever labels a half fully has tags of it too
    _run(
        "training/panoptic.py", *(["--full", *full] if full else []), *(["--weak", *weak] if weak else []),
        "--out", _run_of(bench, row), "--config", bench.config, "--rounds", LAST + 1, "--device", "cpu",
        *([] if bench.imagenet is None else ["--imagenet", bench.imagenet]),
        *_set((f"training.seed={bench.seed}", *bench.changes)),
    )  # fmt: skip


def _score(bench: Bench, row: str, number: int) -> None:
    out = bench.out / "scores" / f"{row}-{number}-{bench.seed}"
    if (out / "scores.json").exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    _run(
        "training/panoptic_score.py", "--run", _run_of(bench, row) / f"round-{number}", "--detector", bench.detector,
        "--data", bench.val, "--out", out,
    )  # fmt: skip


def _run_of(bench: Bench, row: str) -> Path:
    return bench.out / "runs" / f"{row}-{bench.seed}"


def _run(script: str, *arguments: object) -> None:
    subprocess.run([sys.executable, str(ROOT / script), *map(str, arguments)], check=True, cwd=ROOT)


def _set(changes: tuple[str, ...]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help="%(choices)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--config", type=Path, help="default: config/panoptic-mobile.yaml, or -tiny from scratch")
    parser.add_argument(
        "--pretrained", type=Path, default=PRETRAINED, metavar="FILE",
        help="MobileNetV2's ImageNet weights for images (p - 128) / 128, with torchvision's names (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--detector", default="tiny", metavar="BUNDLE", help="whose boxes are the things (tiny)")
    parser.add_argument("--train", type=int, default=72, help="sequences of each of the two training drives")
    parser.add_argument("--val", type=int, default=24, help="sequences that are scored")
    parser.add_argument("--frames", type=int, default=1, help="of a sequence")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 640), metavar=("H", "W"))
    parser.add_argument("--crop", type=int, nargs=2, default=(64, 128), metavar=("H", "W"), help="that is tagged: 15")
    parser.add_argument("--share", type=float, default=0.02, help="part of a crop that a tag's class covers at least")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    options.out = options.out.resolve()
    options.config = options.config or CONFIGS[options.pretrained is not None]
    return options


if __name__ == "__main__":
    sys.exit(main())
