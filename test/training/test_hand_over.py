"""From a point per object to tracked masks: every step a user takes, on five frames a sequence."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from train_runs import refused

from training import export, pseudo_labels, train
from training.pseudo_folder import NOTE
from wsperception import cli
from wsperception.data.mots import read_mots

WISE = ("--config", str(Path(__file__).with_name("wise.yaml")))
WSMOTS = (
    "method.net={backbone: tiny, fpn_channels: 16, box_features: 16, mask_channels: 16, mask_layers: 1, "
    "track_features: 16}",
    "method.roi_samples=16",
    "method.pre_nms=100",
    "method.proposals=50",
    "method.detect={pre_nms: 50, proposals: 20, detections: 10}",
)


def options(method: str, data: Path, out: Path, changes: tuple[str, ...]) -> list[str]:
    listed = [part for change in ("data.input_size=[64, 160]", *changes) for part in ("--set", change)]
    paths = ["--data", str(data), "--out", str(out), "--cache", str(out.parent / "cache")]
    steps = ["--batch", "2", "--iterations", "2", "--device", "cpu", "--workers", "0"]
    return ["--method", method, *paths, *steps, *listed]


@pytest.fixture(scope="module")
def masks(kitti_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of a WISE run that saw points only."""
    folder = tmp_path_factory.mktemp("hand_over")
    assert train.main([*options("wise", kitti_root, folder / "wise", ()), *WISE]) == 0
    made = ["--run", str(folder / "wise"), "--data", str(kitti_root), "--out", str(folder / "masks")]
    assert pseudo_labels.main(made) == 0
    return folder / "masks"


@pytest.mark.timeout(900)
def test_points_end_as_a_tracked_sequence(masks: Path, kitti_root: Path, tmp_path: Path) -> None:
    note = json.loads((masks / NOTE).read_text())
    assert note["run"] == "wise"
    assert note["objects"] + note["lost"] == 20  # a car and a pedestrian in each of ten frames
    assert train.main([*options("wsmots", masks, tmp_path / "run", WSMOTS), "--labels", "pseudo"]) == 0
    record = json.loads((tmp_path / "run/recipe.json").read_text())
    assert record["recipe"]["training"]["supervision"] == "full"
    assert record["data"]["objects"] == note["objects"]
    # After two steps no class is sure of anything: a low threshold lets detections through.
    frames = kitti_root / "training/image_02/0001"
    bundle = ["--out", str(tmp_path / "bundle"), "--score", "0.1", "--images", str(frames)]
    assert export.main(["--run", str(tmp_path / "run"), *bundle]) == 0
    model = ["--model", str(tmp_path / "bundle"), "--out", str(tmp_path / "tracks"), "--no-video"]
    assert cli.main(["track", str(frames), *model]) == 0
    found = read_mots(tmp_path / "tracks/0001.txt")
    assert {entry.frame for entry in found.objects} == set(range(5))
    assert {entry.size for entry in found.objects} == {(64, 160)}
    assert {entry.class_id for entry in found.objects} <= {1, 2}
    assert len({(entry.frame, entry.track_id) for entry in found.objects}) == len(found.objects)


def test_true_masks_are_no_pseudo_masks(kitti_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*options("wsmots", kitti_root, tmp_path / "run", WSMOTS), "--labels", "pseudo"]
    expected = "no pseudo_labels.json; expected a folder of masks that training/pseudo_labels.py made"
    assert refused(capsys, arguments) == f"{kitti_root}: {expected}"
    message = refused(capsys, [*arguments, "--supervision", "weak"])
    assert message == "--labels pseudo: masks are learnt under full supervision, got weak"
    assert not (tmp_path / "run").exists()


def test_points_are_not_learnt_from_masks(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, [*options("wise", masks, tmp_path / "run", ()), *WISE, "--labels", "pseudo"])
    assert message == "training.supervision: wise learns from points, got full"
