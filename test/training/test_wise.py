"""WISE from the command line: points in, weights, scores and refusals out."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from train_runs import curve, refused

from training import export, pictures, pseudo_labels, score, train
from wsperception.data.label_file import FrameLabels, LabelFile, PointLabel, write_label_file
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.errors import InputError
from wsperception.types import LabelSpace

RECIPE = Path(__file__).with_name("wise.yaml")


def arguments(data: Path, out: Path, *more: str, changes: tuple[str, ...] = ()) -> list[str]:
    listed = ["--config", str(RECIPE)] + [part for change in changes for part in ("--set", change)]
    common = ["--method", "wise", "--data", str(data), "--out", str(out), "--batch", "2", "--device", "cpu"]
    return [*common, "--cache", str(out.parent / "cache"), "--workers", "0", "--iterations", "2", *listed, *more]


@pytest.mark.timeout(300)
def test_points_are_learnt_and_masks_are_scored(
    kitti_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(arguments(kitti_root, tmp_path / "run")) == 0
    log = curve(tmp_path / "run")
    assert log[0].keys() >= {f"loss.{name}" for name in ("image", "point", "split", "false_positive", "pair")}
    record = json.loads((tmp_path / "run/recipe.json").read_text())
    assert record["recipe"]["training"]["supervision"] == "points"
    assert record["data"]["objects"] == 20
    # What was decoded and segmented is there for the next run, which is the same.
    assert len(list((tmp_path / "cache/segments").rglob("*.npz"))) == 10
    assert train.main(arguments(kitti_root, tmp_path / "again")) == 0
    assert curve(tmp_path / "again") == log
    options = ["--run", str(tmp_path / "run"), "--data", str(kitti_root), "--out", str(tmp_path / "scores.json")]
    assert score.main([*options, "--split", "0001", "--min-area", "700"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    # Five frames; the car has 50 x 26 pixels, the pedestrian 16 x 40 and is below 700.
    assert (scores["images"], scores["objects"]) == (5, 5)
    assert set(scores["kinds"]) == {"wise", "unrefined", "blobs", "best", "oracle", "true-mask", "true-points"}
    _pictures(tmp_path, kitti_root, capsys)
    # The masks of the points train the deployable network, and are what the run sees.
    made = ["--run", str(tmp_path / "run"), "--data", str(kitti_root), "--out", str(tmp_path / "masks")]
    assert pseudo_labels.main(made) == 0
    frames = read_labelled_frames((tmp_path / "masks",), "all", LabelSpace(("car", "pedestrian"), (True, True)), "full")
    assert len(frames) == 10
    assert len({frame.sequence for frame in frames}) == 10
    assert (
        0 < sum(len(frame.boxes) for frame in frames) <= 20
    )  # after two steps, masks may lie under others or be empty
    assert all(frame.masks is None or frame.masks.size == (64, 160) for frame in frames)
    assert pseudo_labels.main(made) == 2  # it is there
    # The network itself is not what a robot runs.
    assert export.main(["--run", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]) == 2
    assert "the network of wise is not deployed; expected a run of wsmots" in capsys.readouterr().err
    # True points with any masks cover the objects at least as well as nothing; masks of the true ones are exact.
    assert 0 < scores["kinds"]["true-points"]["MUCov"] <= 100


def _pictures(folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of images beside six columns, at twice the size; what cannot be drawn is said in a line."""
    options = ["--run", str(folder / "run"), "--data", str(data), "--images", "3"]
    assert pictures.main([*options, "--out", str(folder / "masks.png")]) == 0
    drawn = cv2.imread(str(folder / "masks.png"))
    assert drawn is not None
    assert drawn.shape == (2 * 3 * (64 + 2), 2 * 6 * (160 + 2), 3)
    capsys.readouterr()
    assert pictures.main([*options, "--out", str(folder / "nowhere/masks.png")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert pictures.main(["--run", str(folder), "--data", str(data), "--out", str(folder / "more.png")]) == 2
    assert "recipe.json" in capsys.readouterr().err


def test_neither_masks_nor_boxes_are_opened_for_clicks(tmp_path: Path) -> None:
    folder = tmp_path / "clicks"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    frames = []
    for number in range(2):
        cv2.imwrite(str(folder / f"images/{number:06d}.png"), random.integers(0, 255, (64, 160, 3), np.uint8))
        points = (PointLabel("cow", None, (40.5 + number, 30.5)),)
        frames.append(FrameLabels(number, f"images/{number:06d}.png", 0, points=points))
    labels = LabelSpace(("cow",), (True,))
    write_label_file(folder, LabelFile("meadow", "camera", 1, (64, 160), labels, tuple(frames)))
    assert train.main(arguments(folder, tmp_path / "run", changes=("data.classes=[cow]",))) == 0
    record = json.loads((tmp_path / "run/recipe.json").read_text())
    assert record["labels"]["names"] == ["cow"]
    assert record["data"]["objects"] == 2


def test_poisoned_boxes_change_nothing_where_points_come_from_masks(kitti_root: Path, tmp_path: Path) -> None:
    poisoned = tmp_path / "drive"
    shutil.copytree(kitti_root, poisoned)
    for path in (poisoned / "training/label_02").iterdir():
        path.write_text("no boxes\n")
    assert train.main(arguments(poisoned, tmp_path / "run", "--iterations", "1")) == 0


def test_supervision_that_a_method_does_not_take(
    kitti_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, arguments(kitti_root, tmp_path / "run", "--supervision", "weak"))
    assert message == "training.supervision: wise learns from points, got weak"
    options = arguments(kitti_root, tmp_path / "run", "--supervision", "points")
    options[1] = "wsmots"
    del options[options.index("--config") :]
    assert refused(capsys, [*options, "--supervision", "points"]).startswith(
        "training.supervision: wsmots learns from weak or full, got points"
    )
    assert not (tmp_path / "run").exists()


def test_runs_that_cannot_be_scored(kitti_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--run", str(tmp_path), "--data", str(kitti_root), "--out", str(tmp_path / "scores.json")]
    assert score.main(options) == 2
    assert "recipe.json: no such file; expected the folder of a run" in capsys.readouterr().err
    assert not (tmp_path / "scores.json").exists()


def test_paper_and_small_recipes_are_valid() -> None:
    from training.recipe import read_recipe

    folder = Path(__file__).resolve().parents[2] / "config"
    paper = read_recipe("wise", folder / "wise.yaml", [])
    # Section 4.2: Adam at 1e-5, weight decay 5e-4, 200k iterations of one image, lambda 0.1, 64 dimensions.
    assert (paper.training.rate, paper.training.weight_decay, paper.training.iterations) == (1e-5, 5e-4, 200_000)
    assert (paper.training.batch, paper.method.balance, paper.method.net.embedding_length) == (1, 0.1, 64)
    assert read_recipe("wise", folder / "wise-tiny.yaml", []).method.net.backbone == "tiny"
    with pytest.raises(InputError, match="unknown key 'net'"):
        read_recipe("wise", None, ["data.net=1"])
