"""Panoptic training from the command line: rounds from boxes and tags, full labels mixed in, and their scores."""

import copy
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

import torch
import torchvision

from training import checkpoint, panoptic, panoptic_score, train
from training.checkpoint import load_tensors
from training.panoptic_labelling import as_panoptic
from training.recipe import read_recipe
from training.run_log import read_log
from training.score import load_run
from wsperception.data.coco_panoptic import open_coco_panoptic
from wsperception.data.coco_panoptic_writer import PanopticWriter
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.learn.panoptic.cleaning import IGNORE, SHARED
from wsperception.learn.panoptic.crop_tags import write_tags
from wsperception.learn.panoptic.labels import PseudoPanoptic
from wsperception.nets.perception_net import PerceptionNet
from wsperception.nets.settings import NetSettings
from wsperception.types import VOID, LabelSpace

SPACE = LabelSpace(("car", "pedestrian", "wall", "road"), (True, True, False, False))
SMALL = (
    "data.input_size=[64, 160]", "data.stored_scale=1", "data.frames=1", "data.focus=0", "training.warm_up=0",
    "data.classes=[car, pedestrian, wall, road]", "training.batch=2", "training.optimizer=adamw",
    "training.learning_rate=0.001", "training.reference_batch=2", "training.iterations=2", "method.stuff_classes=2",
    "method.candidate_weight=0.5", "method.cues={overlap: crf, crf: {iterations: 1}}",
    "method.net={backbone: tiny, norm: group, channels: 8, bins: [1, 2]}",
    "method.tags={iterations: 2, batch: 2, learning_rate: 0.001}", "method.boxes={side: 32, superpixels: 20}",
    "method.cleaning={lowest_score: 0.3, crf: {iterations: 1}}",
)  # fmt: skip


@pytest.fixture(scope="module")
def drive(kitti_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, boxes and ids of one sequence; a wall in the upper half, road below; tags of two crops of each."""
    root = tmp_path_factory.mktemp("panoptic") / "drive"
    shutil.copytree(kitti_root / "training/image_02/0000", root / "training/image_02/0000")
    (root / "training/label_02").mkdir()
    shutil.copy(kitti_root / "training/label_02/0000.txt", root / "training/label_02")
    with PanopticWriter(root / "training/panoptic", "0000", SPACE) as writer:
        for number in range(5):
            ids = np.full((64, 160), 4, np.uint16)
            ids[:32] = 3
            ids[30:56, 20 + 4 * number : 70 + 4 * number] = 1
            ids[12:52, 110 - 3 * number : 126 - 3 * number] = 2
            classes = np.array([VOID, 0, 1, 2, 3], np.int32)
            scores = (classes >= 0).astype(np.float32)
            writer.add_labels(number, PanopticLabels("frame", ids, classes, np.zeros(5, bool), scores))
    full = open_coco_panoptic(root / "training/panoptic/0000.json")
    write_tags(root / "training/tags.json", {"0000": full}, (64, 80), 0.0)
    return root


def options(*more: str | Path) -> list[str]:
    return [*(part for change in SMALL for part in ("--set", change)), "--device", "cpu", *map(str, more)]


@pytest.mark.timeout(600)
def test_two_rounds_of_half_weak_half_full_images(drive: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other", tmp_path / "out"
    shutil.copytree(drive, other)
    assert panoptic.main(options("--weak", drive, "--full", other, "--out", out, "--rounds", "2")) == 0
    first, second = (read_log(out / f"round-{number}/log.jsonl") for number in range(2))
    assert 0.5 < first[0]["labelled_share"] <= 1.0
    assert any(step["loss.candidates"] > 0.0 for step in (*first, *second))  # a batch of full images has none
    # Rates are constant but for the polynomial decay: half in the second round.
    assert second[0]["learning_rate"] == pytest.approx(first[0]["learning_rate"] / 2)
    for number in range(2):
        found = open_coco_panoptic(out / f"labels-{number}/0-drive")
        assert found.labels == SPACE
        assert len(found) == 5
    pages = (out / "rounds.html").read_text()
    assert pages.count("<figcaption>round 1:") == 5
    # Called again, nothing is made anew; a round more goes on from there.
    weights = (out / "round-1/weights.pt").stat().st_mtime_ns
    (out / "rounds.html").unlink()
    assert panoptic.main(options("--weak", drive, "--full", other, "--out", out, "--rounds", "2")) == 0
    assert (out / "round-1/weights.pt").stat().st_mtime_ns == weights
    assert (out / "rounds.html").exists()
    name = "semantic.classify.weight"
    before, after = (load_tensors(out / f"round-{number}/weights.pt")[name] for number in range(2))
    assert not torch.equal(before, after)
    _score(out / "round-1", other, tmp_path / "scores")


def test_both_networks_start_from_imagenet(drive: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = torchvision.models.mobilenet_v2(num_classes=7)
    torch.save(classifier.state_dict(), tmp_path / "imagenet.pth")
    still = (
        "training.learning_rate=0", "training.iterations=1", "method.tags={iterations: 1, batch: 1, learning_rate: 0}",
        "method.net={backbone: mobilenet_v2, norm: frozen, channels: 8, bins: [1]}",
    )  # fmt: skip
    changes = [part for change in still for part in ("--set", change)]
    start = ("--imagenet", tmp_path / "imagenet.pth", "--rounds", "1")
    arguments = options(*changes, "--weak", drive, "--out", tmp_path / "out", *start)
    assert panoptic.main(arguments) == 0
    expected = classifier.features[3].conv[1][0].weight
    name = "features.backbone.body.features.3.conv.1.0.weight"
    assert torch.equal(load_tensors(tmp_path / "out/tags/weights.pt")[name], expected)
    assert torch.equal(load_tensors(tmp_path / "out/round-0/weights.pt")[f"semantic.{name}"], expected)
    assert panoptic.main(arguments[: arguments.index("--imagenet")]) == 2  # what is there started from other weights


def _score(run: Path, data: Path, out: Path) -> None:
    arguments = ["--run", str(run), "--data", str(data), "--out", str(out)]
    assert panoptic_score.main(arguments) == 0
    scores = json.loads((out / "scores.json").read_text())
    assert scores["images"] == 5
    assert scores["combined"]["stuff"]["classes"] == 2
    found = open_coco_panoptic(out / "panoptic")
    assert found.labels == SPACE
    assert all((labels.ids > 0).all() for labels in found)  # every pixel is explained
    assert panoptic_score.main(arguments) == 2


def test_a_folder_of_other_settings_is_left_alone(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rounds.json").write_text('{"weak": []}')
    arguments = options("--full", drive, "--out", tmp_path)
    assert panoptic.main(arguments) == 2
    assert "holds results of other settings, see rounds.json" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        panoptic.main([*arguments, "--rounds", "0"])
    assert "--rounds: expected at least 1, got 0" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.json"]


def test_what_is_missing_is_said(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare/training").mkdir(parents=True)
    shutil.copytree(drive / "training/image_02", tmp_path / "bare/training/image_02")
    shutil.copytree(drive / "training/label_02", tmp_path / "bare/training/label_02")
    assert panoptic.main(options("--weak", tmp_path / "bare", "--out", tmp_path / "out")) == 2
    assert "tags.json: no such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    absent = options("--full", drive, "--out", tmp_path / "out", "--imagenet", tmp_path / "absent.pth")
    assert panoptic.main(absent) == 2
    assert "absent.pth: no such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    common = ["--method", "panoptic", "--data", str(drive), "--out", str(tmp_path / "run"), "--workers", "0"]
    assert train.main([*common, *options()]) == 2
    error = capsys.readouterr().err
    assert re.search(r"0000/00000\d.png: expected panoptic labels, got none; see --panoptic", error)


def test_pseudo_labels_as_segments_by_hand() -> None:
    labels = np.array([[0, 0, 0, 0, 3], [1, 2, IGNORE, 254, 0]], np.uint8)
    instances = np.array([[2, 2, SHARED, 1, 0], [1, 0, 0, 0, 0]], np.int32)
    found = as_panoptic(PseudoPanoptic(labels, instances), "hand", SPACE)
    # Rows in the order of instance and class: shared cars; wall, road (no instance); a car of no box; car 1, pedestrian
    # 1; car 2.
    rows = {(int(one), bool(crowd)) for one, crowd in zip(found.class_ids, found.is_crowd, strict=True)}
    assert rows == {(VOID, False), (0, True), (2, False), (3, False), (0, False), (1, False)}
    semantic = found.semantic()
    assert semantic.tolist() == [[0, 0, 0, 0, 3], [1, 2, 255, 255, 0]]
    assert found.ids[0, 0] == found.ids[0, 1] != found.ids[0, 3]
    assert found.is_crowd[found.ids].tolist() == [[False, False, True, False, False], [False] * 4 + [True]]


def test_the_papers_recipe() -> None:
    recipe = read_recipe("panoptic", Path(__file__).resolve().parents[2] / "config/panoptic.yaml", [])
    # Appendix B.1: windows of 521 x 521, one image a step, momentum 0.9, decay 5e-4, rate 1e-4; section 4.1: 150,000
    # steps a round. B.2: 50,000 steps of one crop at 1e-4.
    training, method = recipe.training, recipe.method
    assert (training.rate, training.momentum, training.weight_decay) == (1e-4, 0.9, 5e-4)
    assert (training.batch, training.iterations, recipe.data.crop) == (1, 150_000, (521, 521))
    assert (method.tags.iterations, method.tags.batch, method.tags.learning_rate) == (50_000, 1, 1e-4)
    assert method.round_rate == 0.5
    assert recipe.labels.thing_count == 8
    assert len(recipe.labels) == 19


def test_both_files_of_settings_are_read() -> None:
    recipe = read_recipe("panoptic", Path(__file__).resolve().parents[2] / "config/panoptic-tiny.yaml", [])
    assert recipe.labels.names[: recipe.labels.thing_count] == ("car", "pedestrian")
    assert json.dumps(recipe.mapping())


def test_a_run_goes_on_after_a_setting_was_added(tmp_path: Path) -> None:
    recipe = read_recipe("wsmots", None, []).mapping()
    older = copy.deepcopy(recipe)
    del older["method"]["semantic_weight"]
    checkpoint.save(tmp_path / "checkpoint.pt", 5, older, {})
    assert checkpoint.load(tmp_path / "checkpoint.pt", recipe)["iteration"] == 5
    recipe["method"]["semantic_weight"] = 0.5
    with pytest.raises(InputError, match=r"another recipe \(different: method.semantic_weight\)"):
        checkpoint.load(tmp_path / "checkpoint.pt", recipe)


def test_a_network_gets_a_semantic_branch_afterwards(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = NetSettings(backbone="tiny", fpn_channels=8, box_features=8, mask_channels=8, semantic_channels=8)
    old, new = PerceptionNet(settings, 2), PerceptionNet(replace(settings, stuff_classes=2), 4)
    checkpoint.save_tensors(tmp_path / "weights.pt", old.state_dict())
    branch = {name: value.clone() for name, value in new.state_dict().items() if name.startswith("semantic.")}
    train._load_weights(new, tmp_path / "weights.pt")
    state = new.state_dict()
    assert all(torch.equal(state[name], value) for name, value in {**old.state_dict(), **branch}.items())
    checkpoint.save_tensors(tmp_path / "other.pt", {"rpn.odd": torch.zeros(1)})
    with pytest.raises(InputError, match=r"other.pt: expected weights of this network"):
        train._load_weights(new, tmp_path / "other.pt")


def broken_tags(drive: Path, folder: Path) -> Path:
    """The labels of the drive, with tags beside them that nobody can read."""
    shutil.copytree(drive / "training/panoptic", folder / "labels")
    (folder / "labels/made-from").mkdir()
    (folder / "labels/made-from/tags.json").write_text("no tags")
    return folder / "labels"


def test_tags_of_labels_are_read_only_for_candidates(drive: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    arguments = ["--method", "panoptic", "--data", str(drive), "--panoptic", str(broken_tags(drive, tmp_path))]
    arguments += ["--workers", "0", "--no-cache"]
    assert train.main([*arguments, *options("--out", tmp_path / "run")]) == 2
    assert "labels/made-from/tags.json: not a JSON file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    without = ["--out", str(tmp_path / "paper"), "--set", "method.candidate_weight=0"]
    assert train.main([*arguments, *options(), *without]) == 0


@pytest.mark.timeout(600)
def test_the_robots_network_learns_stuff_from_the_command_line(drive: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "run", Path(__file__).resolve().parents[2] / "config/panoptic-branch.yaml"
    recipe = read_recipe("wsmots", config, ["data.classes=[car, pedestrian, wall, road]", "method.net.stuff_classes=2"])
    torch.manual_seed(0)
    old = PerceptionNet(replace(recipe.method.net, stuff_classes=0), 2).state_dict()
    checkpoint.save_tensors(tmp_path / "old.pt", old)
    changes = ("data.input_size=[64, 160]", "data.crop=[64, 96]", "data.classes=[car, pedestrian, wall, road]",
               "method.net.stuff_classes=2", "training.iterations=2", "training.batch=2")  # fmt: skip
    arguments = ["--method", "wsmots", "--config", str(config), "--data", str(drive), "--out", str(out)]
    arguments += [
        "--panoptic",
        str(broken_tags(drive, tmp_path)),
        "--init",
        str(tmp_path / "old.pt"),
        "--device",
        "cpu",
    ]
    assert train.main([*arguments, "--workers", "0", *(part for one in changes for part in ("--set", one))]) == 0
    labels = json.loads((out / "recipe.json").read_text())["labels"]
    assert labels == {"names": ["car", "pedestrian", "wall", "road"], "is_thing": [True, True, False, False]}
    net, _, _ = load_run(out)
    assert isinstance(net, PerceptionNet)
    assert net.semantic is not None
    # The detector is the one that it started from; of the branch the average over two steps has moved.
    state = net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in old.items())
    assert float(net.semantic.logits.bias.detach().abs().max()) > 0.0  # type: ignore[union-attr]
