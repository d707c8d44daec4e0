"""The same settings make the same weights: cut off and resumed, in parts, in processes, with threads."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from train_runs import arguments, assert_same_weights, curve

from training import loop, train
from training.run_log import read_log

REPOSITORY = Path(__file__).resolve().parents[2]


class KilledError(BaseException):
    """Ends a run in the middle, as a signal would."""


@pytest.mark.parametrize("average", ["0", "0.9"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resumed_run_is_the_same_run(
    kitti_root: Path, tmp_path: Path, toy: str, monkeypatch: pytest.MonkeyPatch, average: str, optimizer: str
) -> None:
    changes = (f"training.average={average}", f"training.optimizer={optimizer}", "training.checkpoint_every=3")

    def run(name: str, *more: str) -> int:
        return train.main(arguments(kitti_root, tmp_path / name, "--iterations", "10", *more, changes=changes))

    assert run("whole") == 0
    real = loop.train

    def killed(*positional: Any) -> Iterator[dict[str, float]]:
        for iteration, numbers in enumerate(real(*positional)):
            yield numbers
            if iteration == 4:
                raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(train, "train", killed)
        with pytest.raises(KilledError):
            run("cut")
    # Step 4 was logged, the last checkpoint is that after step 2.
    assert [entry["iteration"] for entry in read_log(tmp_path / "cut/log.jsonl")] == [0, 1, 2, 3, 4]
    assert not (tmp_path / "cut/weights.pt").exists()
    assert run("cut", "--resume", "auto") == 0
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    assert len(curve(tmp_path / "cut")) == 10
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.timeout(300)
def test_killed_process_resumes_bit_for_bit(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    def options(name: str, *more: str) -> list[str]:
        changes = ("training.checkpoint_every=2", "training.average=0.9")
        return arguments(kitti_root, tmp_path / name, "--iterations", "8", *more, method="wsmots", changes=changes)

    assert train.main(options("whole")) == 0
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "training/train.py"), *options("cut")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "cut/checkpoint.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(tmp_path / "cut/checkpoint.pt", weights_only=True)["iteration"]
    assert 2 <= done < 8
    assert train.main(options("cut", "--resume", "auto")) == 0
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


def test_accumulated_parts_make_the_joint_step(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    for parts in ("1", "2", "4"):
        more = ("--iterations", "3", "--accumulate", parts, "--batch", "8")
        assert train.main(arguments(kitti_root, tmp_path / parts, *more)) == 0
    for parts in ("2", "4"):
        assert_same_weights(tmp_path / parts, tmp_path / "1", rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(curve(tmp_path / parts), curve(tmp_path / "1"), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.timeout(300)
def test_two_processes_make_the_step_of_one(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    # With every term: Grad-CAM's own backward pass, and a teacher that starts from the first process's weights.
    changes = (
        "method.weak={crf_side: 32, projection_weight: 1, pairwise_weight: 1, temporal_weight: 1, agreement_weight: 1, "
        "teacher_weight: 1, teacher_start: 0, teacher_iou: 0}",
        "training.average=0.9",
    )

    def options(name: str) -> list[str]:
        return arguments(kitti_root, tmp_path / name, "--iterations", "2", method="wsmots", changes=changes)

    assert train.main(options("one")) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    place = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    process = subprocess.Popen(
        [*launcher, *place, str(REPOSITORY / "training/train.py"), *options("two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        output, errors = process.communicate(timeout=250)
    finally:
        if process.poll() is None:
            process.terminate()  # which the launcher hands on to what it launched
            process.wait(30)
    assert process.returncode == 0, errors[-3000:]
    assert "2 process(es)" in output
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    # One step of 0.1 / 6 with momentum: weights move by up to 1e-2, sums in another order differ by 1e-7.
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=1e-4, atol=2e-6)


def test_threads_that_prepare_data_change_nothing(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    for workers in ("0", "3"):
        more = ("--iterations", "6", "--workers", workers)
        assert train.main(arguments(kitti_root, tmp_path / workers, *more)) == 0
    assert curve(tmp_path / "0") == curve(tmp_path / "3")
    assert_same_weights(tmp_path / "0", tmp_path / "3")


def test_the_seed_decides(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train.main(arguments(kitti_root, tmp_path / name, "--iterations", "2", "--seed", seed)) == 0
    assert curve(tmp_path / "a") == curve(tmp_path / "b")
    assert curve(tmp_path / "a") != curve(tmp_path / "c")
