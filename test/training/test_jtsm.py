"""JTSM from the command line: a run of two steps, and the paper's recipe."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

import numpy as np
import torch
from torchvision.models import resnet18

from training import pseudo_labels, tag_score, train
from training.pseudo_folder import NOTE
from training.recipe import read_recipe
from training.run_log import read_log
from wsperception.data.coco_panoptic_writer import PanopticWriter
from wsperception.data.mots import read_mots
from wsperception.geometry import tight_boxes
from wsperception.nets.jtsm_net import JtsmNet, JtsmNetSettings
from wsperception.nets.weights import load_imagenet
from wsperception.types import LabelSpace, SegmentMap

SMALL = (
    "data.input_size=[64, 160]", "data.frames=1", "data.flip=0", "data.focus=0", "data.scale_low=1",
    "data.scale_high=1", "training.warm_up=1", "training.learning_rate=0.0001", "method.scales=[64]",
    "method.net={backbone: tiny, norm: group, stride: 8, channels: 8, hidden: 16, branch_channels: 8}",
    "method.segments={superpixels: 30, paired: 10}",
)  # fmt: skip


def trained(data: Path, out: Path, *more: str) -> list[dict[str, float]]:
    options = [part for change in (*SMALL, *more) for part in ("--set", change)]
    options += ["--method", "jtsm", "--data", str(data), "--out", str(out), "--batch", "2", "--device", "cpu"]
    options += ["--cache", str(out.parent / "cache"), "--workers", "0", "--iterations", "2"]
    assert train.main(options) == 0
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in read_log(out / "log.jsonl")]


@pytest.mark.timeout(600)
def test_two_steps_give_weights_and_are_repeatable(kitti_root: Path, tmp_path: Path) -> None:
    log = trained(kitti_root, tmp_path / "run")
    assert log[0].keys() >= {f"loss.{name}" for name in ("image", "refine", "instance")}
    assert "loss.semantic" not in log[0]  # no class is stuff
    assert log[0]["idle_images"] == 0.0
    assert (tmp_path / "run/weights.pt").exists()
    assert trained(kitti_root, tmp_path / "again") == log


@pytest.mark.timeout(600)
def test_things_and_stuff_are_scored_and_things_handed_over(kitti_root: Path, tmp_path: Path) -> None:
    log = trained(kitti_root, tmp_path / "run", "method.stuff_classes=1")  # pedestrians, of all things
    assert log[0]["loss.semantic"] > 0.0
    truth = tmp_path / "truth"
    space = LabelSpace(("car", "pedestrian"), (True, False))
    ids = np.zeros((64, 160), np.uint16)
    ids[10:30, 20:50], ids[40:] = 1, 2
    classes, scores = np.array([-1, 0, 1], np.int32), np.array([0, 1, 1], np.float32)
    segments = SegmentMap(ids, classes, scores, np.array([0, 1, 0], np.int32), tight_boxes(ids, 3))
    with PanopticWriter(truth, "0000", space) as writer:
        for number in range(5):
            writer.add(number, segments)
    where = ["--run", str(tmp_path / "run"), "--data", str(kitti_root), "--split", "0000"]
    command = [*where, "--truth", str(truth), "--out", str(tmp_path / "scores")]
    assert tag_score.main(command) == 0
    found = json.loads((tmp_path / "scores/scores.json").read_text())
    assert found["images"] == 5 and set(found["classes"]) == {"car", "pedestrian"}
    assert tag_score.main(command) == 2  # it is there
    assert pseudo_labels.main([*where, "--out", str(tmp_path / "masks")]) == 0
    objects = [
        entry for path in (tmp_path / "masks/training/instances_txt").iterdir() for entry in read_mots(path).objects
    ]
    assert {entry.class_id for entry in objects} <= {1}  # cars alone
    note = json.loads((tmp_path / "masks" / NOTE).read_text())
    assert len(objects) == note["objects"] and note["objects"] + note["lost"] >= 5


def test_the_papers_recipe() -> None:
    recipe = read_recipe("jtsm", Path(__file__).resolve().parents[2] / "config/jtsm.yaml", [])
    # Section 4.1: rate 0.01, momentum 0.9, 4 images a step, 100k steps, scales of 480 to 1216 in steps of 32, exposure
    # and saturation up to 1.5; section 3.2 and Table 3: 4 heads; 4,000 segments of an image.
    training, method = recipe.training, recipe.method
    assert (training.rate, training.momentum, training.batch, training.iterations) == (0.01, 0.9, 4, 100_000)
    assert method.scales == tuple(range(480, 1217, 32))
    assert method.scales[-1] == 1216
    assert (method.colour, method.net.refinements, method.proposal_limit) == (1.5, 4, 4000)
    assert (method.net.hidden, method.net.dropout, method.net.branch_channels) == (4096, 0.5, 256)
    assert method.refinement.weighting == "image"


def test_weights_of_imagenet_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = resnet18()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    net = JtsmNet(JtsmNetSettings(hidden=8, branch_channels=8), 2, 0)
    load_imagenet(net, tmp_path / "resnet18.pth")
    torch.testing.assert_close(net.backbone.body.state_dict()["conv1.weight"], network.conv1.weight.detach())
