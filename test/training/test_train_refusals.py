"""What a run refuses, in one line, before it writes anything."""

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from train_runs import arguments, refused

from training import train


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


class Loaded:
    """Makes a file when it is unpickled, which must never happen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


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
