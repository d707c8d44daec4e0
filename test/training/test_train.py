"""Training from the command line: what a run reads, learns from, starts with and leaves."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from train_runs import arguments, assert_same_weights, curve, refused, weights

from training import train
from training.run_log import read_log


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


def test_the_average_is_what_is_exported(kitti_root: Path, tmp_path: Path, toy: str) -> None:
    changes = ("training.average=0.9", "training.learning_rate=1")
    assert train.main(arguments(kitti_root, tmp_path / "run", "--iterations", "4", changes=changes)) == 0
    states = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["states"]
    exported = weights(tmp_path / "run")
    for name, value in exported.items():
        assert torch.equal(value, states["average"][name])
    assert not torch.equal(exported["0.weight"], states["model"]["net.0.weight"])


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
