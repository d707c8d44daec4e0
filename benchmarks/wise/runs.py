"""One training run and its scores, whole or not at all."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bench:
    """What all runs share: where they lie, the drives to learn and to score on, and which objects are too small."""

    out: Path
    train: Path
    val: Path
    min_area: int


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
        command = [
            sys.executable, str(ROOT / "training/train.py"), "--method", method, "--data", str(bench.train),
            "--out", str(run), "--config", str(config), "--seed", str(seed), "--device", "cpu",
            "--cache", str(bench.out / "cache"), "--resume", "auto", "--workers", "1",
        ]  # fmt: skip
        for change in changes:
            command += ["--set", change]
        subprocess.run(command, check=True, cwd=ROOT)
    result.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, str(ROOT / "training/score.py"), "--run", str(run), "--data", str(bench.val), "--out",
         str(result), "--min-area", str(bench.min_area), "--kinds", *kinds],
        check=True, cwd=ROOT,
    )  # fmt: skip
