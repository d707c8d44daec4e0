"""Runs of training/train.py on small data: their command lines, and what they leave."""

from pathlib import Path

import pytest
import torch

from training import train
from training.run_log import read_log

SMALL = [
    "data.input_size=[64, 160]",
    "data.max_gap=2",
    "training.warm_up=2",
    "training.learning_rate=0.1",
    "method.net={backbone: tiny, norm: group, fpn_channels: 16, box_features: 16, mask_channels: 16, mask_layers: 1, "
    "track_features: 16}",
    "method.roi_samples=16",
    "method.pre_nms=100",
    "method.proposals=50",
    "method.weak.crf_side=32",
]
"""Settings of WSMOTS that make a step take 50 ms."""


def arguments(data: Path, out: Path, *more: str, method: str = "toy", changes: tuple[str, ...] = ()) -> list[str]:
    changes = ("data.input_size=[32, 80]", "training.warm_up=2", *changes) if method == "toy" else (*SMALL, *changes)
    listed = [part for change in changes for part in ("--set", change)]
    common = ["--method", method, "--data", str(data), "--out", str(out), "--batch", "4", "--device", "cpu"]
    return [*common, "--cache", str(data.parent / "cache"), *listed, *more]


def curve(out: Path) -> list[dict[str, float]]:
    """The log without the clock."""
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in read_log(out / "log.jsonl")]


def weights(out: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(out / "weights.pt", weights_only=True)
    return loaded


def assert_same_weights(ours: Path, theirs: Path, **tolerance: float) -> None:
    a, b = weights(ours), weights(theirs)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


def refused(capsys: pytest.CaptureFixture[str], options: list[str]) -> str:
    """The one line with which a run is refused."""
    capsys.readouterr()
    assert train.main(options) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]
