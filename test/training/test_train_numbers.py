"""Numbers at their limits: reduced precision, long gradients, and what is not finite."""

from pathlib import Path

import numpy as np
import pytest
import torch
from train_runs import arguments, curve, weights

from training import train
from training.run_log import read_log


@pytest.mark.parametrize("supervision", ["weak", "full"])
def test_bf16_trains(kitti_root: Path, tmp_path: Path, toy: str, supervision: str) -> None:
    more = ("--iterations", "2", "--precision", "bf16", "--supervision", supervision)
    changes = ("training.channels_last=true", "training.clip_norm=1.0")
    out = tmp_path / "run"
    assert train.main(arguments(kitti_root, out, *more, method="wsmots", changes=changes)) == 0
    assert all(value.dtype != torch.bfloat16 for value in weights(out).values())
    assert all(np.isfinite(entry["loss.total"]) for entry in curve(out))


def test_half_precision_scales_the_loss_and_not_the_step(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    more = ("--iterations", "12", "--precision", "fp16")
    assert train.main(arguments(kitti_root, tmp_path / "run", *more)) == 0
    norms = [entry.get("gradient_norm") for entry in curve(tmp_path / "run")]
    # 65,536 times a gradient of 7 is beyond float16: those steps are skipped and the scale halved, until it fits.
    assert norms[0] is None
    taken = [norm for norm in norms if norm is not None]
    assert len(taken) >= 6
    assert max(taken) < 50
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())
    scale = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["states"]["scaler"]["scale"]
    assert scale == 65536 / 2 ** norms.count(None)


def test_a_long_gradient_is_shortened(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    # Without momentum and decay the first step moves the weights by rate x clip_norm = 0.6 / 6 / 3 x 0.01.
    changes = ("training.momentum=0", "training.weight_decay=0", "training.clip_norm=0.01")
    for name, rate in (("start", "0"), ("moved", "0.6")):
        options = (*changes, f"training.learning_rate={rate}")
        assert train.main(arguments(kitti_root, tmp_path / name, "--iterations", "1", changes=options)) == 0
    start, moved = weights(tmp_path / "start"), weights(tmp_path / "moved")
    distance = torch.cat([(moved[name] - start[name]).flatten() for name in start]).norm().item()
    assert distance == pytest.approx(0.6 / 6 / 3 * 0.01, rel=1e-3)
    assert curve(tmp_path / "moved")[0]["gradient_norm"] > 0.01  # as it was before


def test_a_loss_that_is_not_finite_stops_and_is_named(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("method.poison=0.5", "training.checkpoint_every=1")
    out = tmp_path / "run"
    assert train.main(arguments(kitti_root, out, "--iterations", "4", changes=changes)) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("step 2: loss term 'absolute' is inf; all terms: square ")
    assert message.endswith(", absolute inf")
    assert [entry["iteration"] for entry in read_log(out / "log.jsonl")] == [0, 1]
    assert torch.load(out / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert not (out / "weights.pt").exists()


def test_a_gradient_that_is_not_finite_stops(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("method.steep=0.5", "training.checkpoint_every=1")
    out = tmp_path / "run"
    assert train.main(arguments(kitti_root, out, "--iterations", "4", changes=changes)) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("step 2: the gradient is nan; the terms: square ")
    states = torch.load(out / "checkpoint.pt", weights_only=True)["states"]
    assert all(torch.isfinite(value).all() for value in states["model"].values())
