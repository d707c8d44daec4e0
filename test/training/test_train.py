import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision

from training import loop, train
from training.run_log import read_log

REPOSITORY = Path(__file__).resolve().parents[2]
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


def test_a_run_leaves_weights_log_and_recipe(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    out = tmp_path / "run"
    assert train.main(arguments(kitti_root, out, "--iterations", "3")) == 0
    files = sorted(path.name for path in out.iterdir())
    assert files == ["checkpoint.pt", "log.jsonl", "recipe.json", "tensorboard", "weights.pt"]
    log = read_log(out / "log.jsonl")
    assert [entry["iteration"] for entry in log] == [0, 1, 2]
    for entry in log:
        assert entry["loss.total"] == pytest.approx(entry["loss.square"] + entry["loss.absolute"], rel=1e-6)
        assert entry.keys() >= {"gradient_norm", "learning_rate", "seconds", "data_seconds"}
    # 0.02 for 24 frames is 0.02 / 6 for 4; the first of two warm-up steps takes a third of it.
    assert log[0]["learning_rate"] == pytest.approx(0.02 / 6 / 3)
    assert list(weights(out)) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert list((out / "tensorboard").iterdir())
    record = json.loads((out / "recipe.json").read_text())
    assert record["recipe"]["training"]["iterations"] == 3
    assert record["recipe"]["name"] == toy
    assert record["data"]["frames"] == 10
    assert record["data"]["objects"] == 20
    assert record["data"]["roots"] == ["drive"]
    assert record["command"][:5] == ["training/train.py", "--method", "toy", "--data", "drive"]
    assert str(tmp_path) not in (out / "recipe.json").read_text()
    assert record["labels"]["names"] == ["car", "pedestrian"]


def test_weak_training_never_touches_masks(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def options(data: Path, name: str, *more: str) -> list[str]:
        return arguments(data, tmp_path / name, "--iterations", "2", *more, method="wsmots")

    assert train.main(options(kitti_root, "sound")) == 0
    poisoned = tmp_path / "poisoned/drive"
    shutil.copytree(kitti_root, poisoned)
    for path in (poisoned / "training/instances_txt").iterdir():
        path.write_text("no masks\n")
    assert train.main(options(poisoned, "poisoned-run")) == 0
    assert curve(tmp_path / "poisoned-run") == curve(tmp_path / "sound")
    assert_same_weights(tmp_path / "poisoned-run", tmp_path / "sound")
    found = read_log(tmp_path / "sound/log.jsonl")[0]
    assert found.keys() >= {"loss.mask_loc", "loss.mask_crf", "mask_area_share", "mask_void_share"}
    # Whoever opens the masks notices.
    assert "instances_txt" in refused(capsys, options(poisoned, "full", "--supervision", "full"))


def test_pseudo_masks_are_made_where_they_have_weight(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    changes = ("method.weak={pseudo_weight: 1.0, loc_weight: 0.0, crf_weight: 0.0}", "training.learning_rate=0")
    out = tmp_path / "run"
    options = arguments(kitti_root, out, "--iterations", "1", method="wsmots", changes=changes)
    options[options.index("--cache") + 1] = str(tmp_path / "cache")
    assert train.main(options) == 0
    assert "loss.mask_pseudo" in curve(out)[0]
    assert len(list((tmp_path / "cache/pseudo").iterdir())) == 10


def test_a_teacher_is_the_average(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = "method.weak={teacher_weight: 1.0, teacher_start: 0.0, teacher_iou: 0.0, crf_weight: 0.0}"
    changes = (weak, "training.average=0.9")
    out = tmp_path / "run"
    options = arguments(kitti_root, out, "--iterations", "2", method="wsmots", changes=changes)
    assert train.main(options) == 0
    assert curve(out)[0]["loss.mask_teacher"] > 0
    assert not any(
        "teacher" in name for name in torch.load(out / "checkpoint.pt", weights_only=True)["states"]["model"]
    )
    message = refused(capsys, arguments(kitti_root, tmp_path / "other", method="wsmots", changes=(weak,)))
    assert message == "training.average: expected above 0, as the method learns from the averaged weights, got 0"


def test_figures_are_means_over_what_there_was(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    assert train.main(arguments(kitti_root, tmp_path / "run", "--iterations", "1", "--accumulate", "2")) == 0
    assert curve(tmp_path / "run")[0]["mask_area_share"] == pytest.approx(1.0)  # two boxes in each frame


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


def test_the_average_is_what_is_exported(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    changes = ("training.average=0.9", "training.learning_rate=1")
    assert train.main(arguments(kitti_root, tmp_path / "run", "--iterations", "4", changes=changes)) == 0
    states = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["states"]
    exported = weights(tmp_path / "run")
    for name, value in exported.items():
        assert torch.equal(value, states["average"][name])
    assert not torch.equal(exported["0.weight"], states["model"]["net.0.weight"])


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


def test_start_from_the_weights_of_another_run(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert train.main(arguments(kitti_root, first, "--iterations", "4")) == 0
    more = ("--iterations", "1", "--seed", "9", "--init", str(first / "weights.pt"))
    assert train.main(arguments(kitti_root, second, *more, changes=("training.learning_rate=0",))) == 0
    assert_same_weights(first, second)


def test_start_from_imagenet(kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = torchvision.models.resnet18(num_classes=7)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    changes = ("method.net.backbone=resnet18", "method.net.norm=frozen", "training.learning_rate=0")
    more = ("--iterations", "1", "--imagenet", str(tmp_path / "resnet18.pth"), "--batch", "2")
    options = arguments(kitti_root, tmp_path / "run", *more, method="wsmots", changes=changes)
    assert train.main(options) == 0
    found = weights(tmp_path / "run")["backbone.body.layer2.0.conv1.weight"]
    assert torch.equal(found, classifier.layer2[0].conv1.weight)
    refused_by_tiny = arguments(kitti_root, tmp_path / "other", *more, method="wsmots")
    assert refused(capsys, refused_by_tiny).startswith("backbone tiny, norm group: no ImageNet weights; expected")
    assert "the network of toy takes no ImageNet weights" in refused(
        capsys, arguments(kitti_root, tmp_path / "other", "--imagenet")
    )


class Loaded:
    """Makes a file when it is unpickled, which must never happen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def refused(capsys: pytest.CaptureFixture[str], options: list[str]) -> str:
    """The one line with which a run is refused."""
    capsys.readouterr()
    assert train.main(options) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


def test_refused_settings(kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"

    def complaint(*changes: str, more: tuple[str, ...] = ()) -> str:
        return refused(capsys, arguments(kitti_root, out, *more, changes=changes))

    assert "training: unknown key 'speed'; known are" in complaint("training.speed=1")
    assert "training: learning_rate: expected float, got 'fast'" in complaint("training.learning_rate=fast")
    assert complaint("rate=1").startswith("--set rate=1: expected section.key=value")
    assert complaint("training.rate").startswith("--set training.rate: expected section.key=value")
    assert "expected a YAML value" in complaint("training.seed=[1")
    assert "data.frames: expected 2 as method.clip_frames, got 3" in complaint("data.frames=3")
    assert complaint(more=("--batch", "5")).startswith(
        "training.batch: expected a multiple of data.frames x accumulate"
    )
    assert "no such file; expected a YAML file" in complaint(more=("--config", "absent.yaml"))
    assert not out.exists()


def test_refused_files(kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    for text, complaint in (
        ("training: [1]", "expected the sections training, data, method"),
        ("trainig: {seed: 1}", "unknown key 'trainig'; known are training, data, method"),
        ("training: {seed: -1}", "training: seed: expected 0 to"),
        ("a: [", "not a YAML file"),
    ):
        config.write_text(text)
        options = arguments(kitti_root, tmp_path / "run", "--config", str(config))
        message = refused(capsys, options)
        assert message.startswith(str(config))
        assert complaint in message
    assert "absent: no such folder" in refused(capsys, arguments(tmp_path / "absent", tmp_path / "run"))


def test_an_existing_folder_is_not_overwritten(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train.main(arguments(kitti_root, out, "--iterations", "2")) == 0
    before = (out / "weights.pt").read_bytes()
    assert "exists; expected a new folder, or --resume auto" in refused(capsys, arguments(kitti_root, out))
    other = arguments(kitti_root, out, "--iterations", "3", "--resume", "auto", "--seed", "5")
    message = refused(capsys, other)
    assert message.endswith("(different: training.iterations, training.seed); expected the same")
    assert (out / "weights.pt").read_bytes() == before
    (tmp_path / "file").write_text("x")
    assert "expected a folder for the run, got a file" in refused(capsys, arguments(kitti_root, tmp_path / "file"))


def test_broken_checkpoints_and_weights(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    executed = tmp_path / "executed"
    resume = arguments(kitti_root, out, "--resume", "auto")
    for content in (b"", b"not weights", pickle.dumps(Loaded(executed)), pickle.dumps([1, 2])):
        (out / "checkpoint.pt").write_bytes(content)
        assert refused(capsys, resume).startswith(f"{out / 'checkpoint.pt'}: expected")
    assert not executed.exists()
    torch.save({"x": torch.zeros(1)}, out / "checkpoint.pt")
    assert "expected a checkpoint of a training run, got the keys x" in refused(capsys, resume)
    init = arguments(kitti_root, tmp_path / "other", "--init", str(out / "checkpoint.pt"))
    assert "expected weights of this network" in refused(capsys, init)
    absent = arguments(kitti_root, tmp_path / "other", "--init", str(tmp_path / "absent.pt"))
    assert "absent.pt: no such file; expected weights" in refused(capsys, absent)


def test_an_unreadable_image_is_named(tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "drive/image_02/0000"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "000000.png"), np.zeros((20, 50, 3), np.uint8))
    (folder / "000001.png").write_bytes(b"broken")
    (tmp_path / "drive/label_02").mkdir()
    (tmp_path / "drive/label_02/0000.txt").touch()
    options = arguments(tmp_path / "drive", tmp_path / "run", "--supervision", "weak")
    assert "000001.png: expected an image that OpenCV reads" in refused(capsys, options)
    assert not (tmp_path / "run").exists()


def test_cuda_where_there_is_none(
    kitti_root: Path, tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = [*arguments(kitti_root, tmp_path / "run"), "--device", "cuda"]
    assert refused(capsys, options).startswith("--device cuda: no CUDA device is available")
