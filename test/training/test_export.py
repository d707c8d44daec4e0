"""From a run's folder, or COCO weights, to a bundle that the pipeline opens."""

import contextlib
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from torchvision.models.detection import maskrcnn_resnet50_fpn  # noqa: E402
from torchvision.ops.misc import FrozenBatchNorm2d  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from training import export  # noqa: E402
from training.checkpoint import save_tensors  # noqa: E402
from wsperception.backends import open_backend  # noqa: E402
from wsperception.bundle import Thresholds, read_bundle  # noqa: E402
from wsperception.learn.methods import wsmots  # noqa: E402
from wsperception.nets.onnx_export import Parity  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402
from wsperception.pipeline import Pipeline  # noqa: E402
from wsperception.settings import to_mapping  # noqa: E402
from wsperception.types import Frame  # noqa: E402

METHOD = wsmots.Settings(
    net=NetSettings(backbone="tiny", fpn_channels=16, box_features=32, mask_channels=8, track_features=16),
    detect=DetectSettings(pre_nms=50, proposals=20, detections=10),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bundle that the command makes of such a run, once, as it takes long; and what it prints."""
    folder = tmp_path_factory.mktemp("exported")
    out, printed = folder / "models" / "small", io.StringIO()
    arguments = ["--run", str(write_run(folder / "run")), "--out", str(out), "--score", "0.3", "--certainty", "0.6"]
    with contextlib.redirect_stdout(printed):
        assert export.main(arguments) == 0
    return out, printed.getvalue()


def write_run(folder: Path) -> Path:
    """The folder of a run that has not learnt anything."""
    folder.mkdir()
    torch.manual_seed(0)
    save_tensors(folder / "weights.pt", wsmots.build(METHOD, 2).net.state_dict())
    record = {
        "recipe": {
            "name": "wsmots",
            "training": {"supervision": "full"},
            "data": {"input_size": [64, 96]},
            "method": to_mapping(METHOD),
        },
        "labels": {"names": ["car", "pedestrian"], "is_thing": [True, True]},
        "command": ["train.py", "--seed", "1"],
        "commit": "abc",
        "date": "2026-01-02T03:04:05+00:00",
    }
    (folder / "recipe.json").write_text(json.dumps(record))
    return folder


def test_a_run_becomes_a_bundle(small: tuple[Path, str]):
    folder, printed = small
    assert "0 not" in printed
    bundle = read_bundle(folder)
    assert (bundle.name, bundle.method, bundle.supervision) == ("small", "wsmots", "full")
    assert (bundle.input_size, bundle.max_detections, bundle.embedding_length) == ((64, 96), 10, 8)
    assert bundle.thresholds == Thresholds(score=0.3, certainty=0.6)
    assert bundle.training.command == "train.py --seed 1"
    frame = Frame(np.zeros((50, 80, 3), np.uint8), 0, "camera", 0)
    assert Pipeline(open_backend(bundle), bundle)(frame).segments.ids.shape == (50, 80)


def test_an_export_that_differs_is_refused(
    run: Path, small: tuple[Path, str], tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture
):
    compare = export.parity
    monkeypatch.setattr(export, "export_onnx", lambda *arguments: shutil.copy(small[0] / "model.onnx", arguments[-1]))
    monkeypatch.setattr(export, "parity", lambda *arguments: replace(compare(*arguments), mask=0.3))
    assert export.main(["--run", str(run), "--out", str(tmp_path / "bad")]) == 2
    assert "not written, the ONNX file differs from PyTorch" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "recipe.json").unlink(), "recipe.json: no such file; expected the folder of a run"),
        (lambda run: (run / "recipe.json").write_text("{"), "recipe.json: not readable as JSON"),
        (lambda run: (run / "recipe.json").write_text("{}"), "recipe.json: expected the record of a training run"),
        (lambda run: (run / "weights.pt").unlink(), "weights.pt: no such file"),
        (lambda run: (run / "weights.pt").write_bytes(b"broken"), "weights.pt: expected a file of weights"),
        (lambda run: save_tensors(run / "weights.pt", {"a": torch.zeros(1)}), "weights.pt: do not fit the network"),
    ],
)
def test_a_broken_run_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture, change, message: str):
    change(run)
    assert export.main(["--run", str(run), "--out", str(tmp_path / "bad")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "bad").exists()


def test_coco_weights_become_a_bundle(tmp_path: Path):
    torch.manual_seed(0)
    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, norm_layer=FrozenBatchNorm2d)
    torch.save(network.state_dict(), tmp_path / "coco.pth")
    bundle, report = export.export_coco(tmp_path / "coco.pth", (64, 96), tmp_path / "coco", None, Thresholds())
    assert report.within()
    assert bundle.label_space.names == ("car", "pedestrian")
    assert bundle.embedding_length == 256
    assert bundle.supervision == "full (COCO masks)"


def test_figures_name_every_difference():
    text = export._figures(Parity(12, 3, 0.5, 0.25, 0.125, 0.0625))
    assert "12 detections matched, 3 not" in text
    assert text.endswith("box 0.5 px, score 0.25, mask 0.12, embedding 0.062")
    panoptic = export._figures(Parity(12, 3, 0.5, 0.25, 0.125, 0.0625, 0.03125))
    assert panoptic == f"{text}, semantic probability 0.031"


def test_a_semantic_branch_that_differs_is_no_parity():
    assert Parity(20, 0, 0.0, 0.0, 0.0, 0.0, 0.01).within()
    assert not Parity(20, 0, 0.0, 0.0, 0.0, 0.0, 0.011).within()
