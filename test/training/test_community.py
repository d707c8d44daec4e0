"""Community Learning from the command line: from tags to scores, and to masks that train the deployable network."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

from training import pseudo_labels, score, train
from training.pseudo_folder import NOTE
from training.recipe import LABELS, read_recipe
from training.run_log import read_log
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.errors import InputError

SMALL = (
    "data.input_size=[64, 160]", "data.frames=1", "data.flip=0", "data.focus=0", "data.scale_low=1",
    "data.scale_high=1", "training.warm_up=1", "method.scales=[64]",
    "method.net={backbone: tiny, pool_side: 3, regressor_features: 16, cam_channels: 8, mask_side: 6, "
    "mask_channels: 8, mask_layers: 1}",
    "method.segments={superpixels: 30, paired: 10}", "method.choice={limit: 16, min_side: 8}",
    "method.foreground=2", "method.background=2",
)  # fmt: skip


def trained(data: Path, out: Path, cache: Path, *more: str) -> list[dict[str, float]]:
    options = [part for change in (*SMALL, *more) for part in ("--set", change)]
    options += ["--method", "community", "--data", str(data), "--out", str(out), "--batch", "2", "--device", "cpu"]
    options += ["--cache", str(cache), "--workers", "0", "--iterations", "2"]
    assert train.main(options) == 0
    return steps(out)


def steps(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in read_log(run / "log.jsonl")]


@pytest.fixture(scope="module")
def tagged(kitti_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of the drive and their tags, nothing else."""
    folder = tmp_path_factory.mktemp("tagged")
    lines = []
    for path in sorted((kitti_root / "training/image_02").glob("*/*.png")):
        name = f"{path.parent.name}-{path.name}"
        shutil.copy(path, folder / name)
        lines.append(f"{name},car,pedestrian\n")
    (folder / "tags.csv").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def run(tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps on the tags."""
    folder = tmp_path_factory.mktemp("community")
    trained(tagged, folder / "run", folder / "cache")
    return folder / "run"


@pytest.mark.timeout(600)
def test_tags_are_all_it_takes(kitti_root: Path, run: Path, tmp_path: Path) -> None:
    log = trained(kitti_root, tmp_path / "boxes", tmp_path / "cache")
    assert log[0].keys() >= {f"loss.{name}" for name in ("image", "refine", "box", "map", "mask")}
    assert [entry["idle_images"] for entry in log] == [0.0, 0.0]
    assert steps(run) == log  # a drive with boxes gives its classes as tags, and nothing more


@pytest.mark.timeout(600)
def test_images_without_proposals_stop_nothing(tagged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Not one proposal is as long as this.
    idle = trained(tagged, tmp_path / "idle", tmp_path / "cache", "method.choice.min_side=1000")
    assert [entry["idle_images"] for entry in idle] == [1.0, 1.0]
    assert [entry["loss.total"] for entry in idle] == [0.0, 0.0]
    assert ".png: no proposals, so that nothing is learnt from it" in caplog.text


@pytest.mark.timeout(600)
def test_masks_of_tags_train_the_deployable_network(run: Path, tagged: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    assert pseudo_labels.main(["--run", str(run), "--data", str(tagged), "--out", str(masks)]) == 0
    note = json.loads((masks / NOTE).read_text())
    frames = read_labelled_frames((masks,), "all", LABELS, "full")
    assert len(frames) == 10 and len({frame.sequence for frame in frames}) == 10
    assert sum(frame.objects for frame in frames) == note["objects"] > 0
    # After two steps the network tells nothing apart: what counts is that each tag is a mask, or is counted as lost.
    assert sum(len(set(frame.class_ids.tolist())) for frame in frames) + note["lost"] == 20
    assert {frame.masks.size for frame in frames if frame.masks is not None} == {(64, 160)}
    net = "{backbone: tiny, fpn_channels: 16, box_features: 16, mask_channels: 16, mask_layers: 1, track_features: 16}"
    options = ["--method", "wsmots", "--labels", "pseudo", "--data", str(masks), "--out", str(tmp_path / "run")]
    options += ["--batch", "2", "--iterations", "1", "--device", "cpu", "--workers", "0", "--no-cache"]
    for change in ("data.input_size=[64, 160]", f"method.net={net}", "method.roi_samples=16", "method.proposals=50"):
        options += ["--set", change]
    assert train.main(options) == 0


@pytest.mark.timeout(600)
def test_scores_of_a_run(run: Path, kitti_root: Path, tmp_path: Path) -> None:
    options = ["--run", str(run), "--data", str(kitti_root), "--split", "0000", "--out", str(tmp_path / "scores.json")]
    assert score.main(options) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["images"], found["objects"], sorted(found["kinds"])) == (5, 10, ["instances", "replaced"])
    for values in found["kinds"].values():
        assert {"VOC AP25", "VOC AP50", "VOC AP75", "ABO", "CorLoc"} <= values.keys()
        assert 0.0 < values["ABO"] <= 100.0 and 0.0 <= values["CorLoc"] <= 100.0


def test_a_tag_that_is_no_class_stops_before_training(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "tags.csv").write_text("a.png,car,ufo\n")
    options = ["--method", "community", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert train.main(options) == 2
    assert "tags.csv: line 1: expected tags of car, pedestrian, got 'ufo'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_tags_are_not_those_of_a_window() -> None:
    with pytest.raises(InputError, match=r"data\.crop: expected 0 0, as tags are those of whole images, got 64 96"):
        read_recipe("community", None, ["data.crop=[64, 96]"])


def test_the_papers_recipe() -> None:
    recipe = read_recipe("community", Path(__file__).resolve().parents[2] / "config/community.yaml", [])
    # Section 4.1: 1e-3, decay 5e-4, batches of 2, 120k steps, five scales, NMS 0.3, xi 0.4, IoU 0.6; 3 heads, T 28.
    training, method = recipe.training, recipe.method
    assert (training.rate, training.weight_decay, training.batch, training.iterations) == (1e-3, 5e-4, 2, 120_000)
    assert method.scales == (480, 576, 688, 864, 1000)
    assert (method.foreground_nms, method.mask_threshold, method.regression_iou) == (0.3, 0.4, 0.6)
    assert (method.net.heads, method.net.mask_side, method.net.pool_side, method.net.cams) == (3, 28, 7, 3)
