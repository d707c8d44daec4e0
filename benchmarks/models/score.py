"""Scores a model on drives that nothing was trained or tuned on.

    python benchmarks/models/score.py --model tiny --out out/models
    python benchmarks/models/score.py --model tiny --out out/models --silhouettes MOTS_TEXTS --sequence 0012

Without --silhouettes: synthetic drives of --seed, from 9000 on for reports, 5000 to 6999 for choosing thresholds. With
it: the silhouettes, ids and motion of real MOTS texts, only the textures synthetic. Drives and results below --out are
used again when they are there. Prints a line of the README's table per class and --settings.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import write_drive
from wsperception.evaluation.command import evaluate_command
from wsperception.track import TrackRequest, run_track

MEASURES = ("sMOTSA", "MOTSA", "MOTSP", "HOTA", "IDF1", "recall", "precision", "IDS")


def main() -> None:
    options = _parse()
    drive = options.out / (
        f"drive-{options.seed}" if options.silhouettes is None else "silhouettes-" + "-".join(options.sequence)
    )
    if not drive.exists():
        _write_drive(drive, options)
    names = sorted(path.name for path in (drive / "training/image_02").iterdir())
    print(f"| {options.model} on {drive.name} | class | " + " | ".join(MEASURES) + " |")
    for text in options.settings or ["{}"]:
        values = yaml.safe_load(text)
        results = (
            options.out / f"{Path(options.model).name}-{drive.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        )
        for name in names:
            if not (results / "tracks" / f"{name}.txt").exists():
                _track(drive, name, results, options.model, values)
        shutil.rmtree(results / "scores", ignore_errors=True)
        evaluate_command(
            drive / "training/instances_txt",
            results / "tracks",
            results / "scores",
            images=drive / "training/image_02",
            seqmap=drive / "drive.seqmap",
        )
        scores = json.loads((results / "scores/scores.json").read_text())["combined"]
        for class_name in ("car", "pedestrian"):
            figures = (scores[class_name][measure] for measure in MEASURES)
            cells = " | ".join("-" if figure is None else f"{figure:.1f}".removesuffix(".0") for figure in figures)
            print(f"| {text.strip('{}') or 'none'} | {class_name} | {cells} |", flush=True)


def _track(drive: Path, name: str, results: Path, model: str, values: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "settings.yaml"
        settings.write_text(yaml.safe_dump(values))
        source = drive / "training/image_02" / name
        run_track(TrackRequest(source, model, Path(scratch) / "out", settings=settings, video=False))
        (results / "tracks").mkdir(parents=True, exist_ok=True)
        shutil.move(Path(scratch) / "out" / f"{name}.txt", results / "tracks" / f"{name}.txt")


def _write_drive(drive: Path, options: argparse.Namespace) -> None:
    settings = DriveSettings(seed=options.seed, frames=options.frames)
    if options.silhouettes is None:
        write_drive(drive, settings, sequences=options.sequences, jobs=options.jobs, bag=False)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sequence:
            shutil.copy(options.silhouettes / f"{name}.txt", scratch)
        write_drive(drive, settings, silhouettes=Path(scratch), jobs=options.jobs, bag=False)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=9500)
    parser.add_argument("--sequences", type=int, default=24, help="synthetic drives")
    parser.add_argument("--frames", type=int, default=40, help="frames per synthetic drive")
    parser.add_argument("--silhouettes", type=Path, help="folder of MOTS texts")
    parser.add_argument("--sequence", action="append", default=[], help="text to use; repeatable")
    parser.add_argument(
        "--settings", action="append", metavar="YAML", help="values over the model's own; repeatable, a row each"
    )
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
