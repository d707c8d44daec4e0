"""One training run and its scores, whole or not at all."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bench:
    """What all runs share: where they lie, the images to learn and to score on, and MobileNetV2's weights; None: all
    networks start from scratch."""

    out: Path
    train: Path
    val: Path
    imagenet: Path | None


def run_once(
    bench: Bench, result: Path, method: str, config: Path, seed: int, changes: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    """Trains and scores, from where it stopped; nothing to do where the result is there.

    changes  settings over those of `config`
    kinds    masks that training/score.py is to score
    """
    if result.exists():
        return
    run = bench.out / "runs" / result.stem
    if not (run / "weights.pt").exists():
        _call(
            "train.py", "--method", method, "--data", bench.train, "--out", run, "--config", config, "--seed", seed,
            "--device", "cpu", "--cache", bench.out / "cache", "--resume", "auto", "--workers", "1",
            *(() if bench.imagenet is None else ("--imagenet", bench.imagenet)),
            *(part for change in changes for part in ("--set", change)),
        )  # fmt: skip
    result.parent.mkdir(parents=True, exist_ok=True)
    _call("score.py", "--run", run, "--data", bench.val, "--out", result, "--kinds", *kinds)


def _call(script: str, *arguments: object) -> None:
    subprocess.run([sys.executable, str(ROOT / "training" / script), *map(str, arguments)], check=True)
