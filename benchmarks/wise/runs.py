"""One training run and its scores, whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

from training import score, train

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bench:
    """What all runs share: where they lie, and the images to learn and to score on."""

    out: Path
    train: Path
    val: Path


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
        options = [
            "--method", method, "--data", str(bench.train), "--out", str(run), "--config", str(config), "--seed",
            str(seed), "--device", "cpu", "--cache", str(bench.out / "cache"), "--resume", "auto", "--workers", "1",
        ]  # fmt: skip
        _succeed(train.main([*options, *(part for change in changes for part in ("--set", change))]))
    result.parent.mkdir(parents=True, exist_ok=True)
    paths = ["--run", str(run), "--data", str(bench.val), "--out", str(result)]
    _succeed(score.main([*paths, "--kinds", *kinds]))


def _succeed(status: int) -> None:
    """What went wrong was said."""
    if status:
        raise SystemExit(status)
