"""Community Learning from the command line: only the classes of what is annotated are read."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

from training import train
from training.recipe import read_recipe
from training.run_log import read_log

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
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in read_log(out / "log.jsonl")]


@pytest.mark.timeout(600)
def test_tags_are_all_it_takes(kitti_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = trained(kitti_root, tmp_path / "run", tmp_path / "cache")
    assert log[0].keys() >= {f"loss.{name}" for name in ("image", "refine", "box", "map", "mask")}
    assert log[0]["idle_images"] == 0.0
    lines = []
    for path in sorted((kitti_root / "training/image_02").glob("*/*.png")):
        name = f"{path.parent.name}-{path.name}"
        (tmp_path / "tagged").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "tagged" / name)
        lines.append(f"{name},car,pedestrian\n")
    (tmp_path / "tagged/tags.csv").write_text("".join(lines))
    assert trained(tmp_path / "tagged", tmp_path / "alone", tmp_path / "cache-alone") == log
    # Not one proposal is as long as this: nothing can be learnt, nothing breaks, and the images are named.
    idle = trained(tmp_path / "tagged", tmp_path / "idle", tmp_path / "cache-alone", "method.choice.min_side=1000")
    assert [entry["idle_images"] for entry in idle] == [1.0, 1.0]
    assert [entry["loss.total"] for entry in idle] == [0.0, 0.0]
    assert ".png: no proposals, so that nothing is learnt from it" in caplog.text


def test_a_tag_that_is_no_class_stops_before_training(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "tags.csv").write_text("a.png,car,ufo\n")
    options = ["--method", "community", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert train.main(options) == 2
    assert "tags.csv: line 1: expected tags of car, pedestrian, got 'ufo'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_papers_recipe() -> None:
    recipe = read_recipe("community", Path(__file__).resolve().parents[2] / "config/community.yaml", [])
    # Section 4.1: 1e-3, decay 5e-4, batches of 2, 120k steps, five scales, NMS 0.3, xi 0.4, IoU 0.6; 3 heads, T 28.
    training, method = recipe.training, recipe.method
    assert (training.rate, training.weight_decay, training.batch, training.iterations) == (1e-3, 5e-4, 2, 120_000)
    assert method.scales == (480, 576, 688, 864, 1000)
    assert (method.foreground_nms, method.mask_threshold, method.regression_iou) == (0.3, 0.4, 0.6)
    assert (method.net.heads, method.net.mask_side, method.net.pool_side, method.net.cams) == (3, 28, 7, 3)
