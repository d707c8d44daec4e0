"""The comparison of weak and full supervision: its arithmetic, its scenes, and a run of two steps."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("trackeval")
pytest.importorskip("matplotlib")

import torch

from benchmarks.wsmots import labels, run
from benchmarks.wsmots.report import COLUMNS, LOST, drop, read_results, spread, tables
from benchmarks.wsmots.rows import DETECTOR, EXTRAS, PAPER_DROPS, ROWS, SWEEP
from benchmarks.wsmots.scenes import Scenes, _write_clips, write_scenes
from training import export
from training.checkpoint import load_tensors
from wsperception.data.mots import read_mots
from wsperception.errors import InputError
from wsperception.learn.cam import VARIANTS
from wsperception.learn.methods.wsmots import Settings
from wsperception.rle import encode
from wsperception.settings import from_mapping

FULL = {"sMOTSA": (69.1, 35.1), "MOTSA": (80.1, 52.0), "MOTSP": (87.0, 75.3)}
WEAK = {"sMOTSA": (54.6, 20.3), "MOTSA": (72.5, 39.7), "MOTSP": (76.6, 65.7)}
"""WSMOTS, Table 2: cars, pedestrians."""
CAR = encode(np.arange(24).reshape(4, 6) % 6 == 2).decode()


def test_the_papers_drops_follow_from_its_table():
    for measure, drops in PAPER_DROPS["W1"].items():
        for full, weak, expected in zip(FULL[measure], WEAK[measure], drops, strict=True):
            assert drop(full, weak) == pytest.approx(expected, abs=0.05)


def test_spread():
    # Of 70, 72, 77: mean 73, squared distances 9 + 1 + 16 = 26, over 2: 13.
    assert spread([70.0, 72.0, 77.0]) == "73.0 ± 3.6"
    assert spread([70.0, math.nan]) == "70.0"
    assert spread([math.nan]) == "-"
    assert math.isnan(drop(-3.0, 5.0))
    assert math.isnan(drop(9.9, 1.0))


def test_tables(tmp_path: Path):
    def write(name: str, car: float, pedestrian: float) -> None:
        values = {
            kind: {
                "sMOTSA": value - 20,
                "MOTSA": value - 10,
                "MOTSP": value,
                "box MOTSP": value + 1,
                "box recall": value,
            }
            | {"missed": 100 - value, "false": 5.0, "switched": 3.0, "inexact": 10.0}
            for kind, value in (("car", car), ("pedestrian", pedestrian))
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(values))

    write("F-0", 80.0, 60.0)
    write("W1-0", 72.0, 57.0)
    write("W1-1", 70.0, 50.0)  # a seed without F has no drop
    write("W2-0", 68.0, 58.0)
    write("W1-partial", 1.0, 1.0)
    results = read_results(tmp_path)
    assert list(results) == ["F", "W1", "W2"]
    assert sorted(results["W1"]) == [0, 1]
    text = tables(results)
    # MOTSP of W1: (72 + 70) / 2 and (57 + 50) / 2 with deviations of 2 / sqrt 2 and 7 / sqrt 2.
    assert "71.0 ± 1.4 / 53.5 ± 4.9" in text
    # (80 - 72) / 80 = 10 %, (60 - 57) / 60 = 5 %; the paper's 12.0 / 12.7.
    row = next(line for line in text.splitlines() if line.startswith("| W1 | ") and "12.0 / 12.7" in line)
    assert "| 10.0 / 5.0 |" in row
    row = next(line for line in text.splitlines() if line.startswith("| W1 - W2"))
    assert "| 4.0 / -1.0 |" in row
    assert "| 5.4 / 1.3 |" in row
    assert "| F | 20.0 / 40.0 | 5.0 / 5.0 | 3.0 / 3.0 | 10.0 / 10.0 |" in text


@pytest.mark.parametrize(
    "row", [DETECTOR, *ROWS.values(), *EXTRAS.values(), *SWEEP.values()], ids=lambda row: row.title
)
def test_rows_are_settings_that_exist(row):
    values: dict = {}
    for change in row.changes:
        key, _, value = change.partition("=")
        section, *parts = key.split(".")
        if section == "method":
            place = values
            for part in parts[:-1]:
                place = place.setdefault(part, {})
            place[parts[-1]] = json.loads(value) if value[0].isdigit() or value == "false" else value
    from_mapping(Settings, values, row.title)


def test_clips_of_real_silhouettes(tmp_path: Path):
    # 12 frames with a car in all but frame 4: of 0-2, 3-5, 6-8, 9-11 the second is not busy; 2 of 3 are the first two.
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("0000", "0001", "0003", "0004", "0009", "0012", "0019", "0020", "0005", "0011", "0015", "0017"):
        lines = [f"{frame} 1001 1 4 6 {CAR}\n" for frame in range(12) if frame != 4]
        (texts / f"{name}.txt").write_text("".join(lines))

    _write_clips(texts / "0005.txt", tmp_path, 2, 3)
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["0005-0000.txt", "0005-0006.txt"]
    assert [entry.frame for entry in read_mots(tmp_path / "0005-0006.txt").objects] == [0, 1, 2]
    with pytest.raises(InputError, match=r"0005\.txt: expected 9 frames in a row with objects, found none"):
        _write_clips(texts / "0005.txt", tmp_path, 1, 9)


def test_scenes_are_drawn_once(tmp_path: Path):
    scenes = Scenes(train_clips=1, train_frames=1, val_clips=1, val_frames=1, size=(48, 96))
    train, val = write_scenes(tmp_path, scenes, None, 1)
    assert len(list((train / "training/image_02").iterdir())) == 8
    assert len(list((val / "training/image_02").iterdir())) == 4
    first = next((train / "training/image_02").rglob("*.png"))
    before = first.stat().st_mtime_ns
    assert write_scenes(tmp_path, scenes, None, 1) == (train, val)
    assert first.stat().st_mtime_ns == before


def test_recipe_follows_device_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def choice(*arguments: str) -> tuple[str, Path | None]:
        options = run._parse(["--out", "somewhere", *arguments])
        return options.config.name, options.pretrained

    here, given = tmp_path / "here.pth", tmp_path / "given.pth"
    monkeypatch.setattr(run, "PRETRAINED", here)
    assert choice() == ("mobile.yaml", here)
    assert choice("--pretrained", str(given)) == ("mobile.yaml", given)
    assert choice("--device", "cuda") == ("cuda.yaml", None)
    assert choice("--config", "cpu.yaml") == ("cpu.yaml", None)
    monkeypatch.setattr(run, "PRETRAINED", None)
    assert choice() == ("cpu.yaml", None)


def test_weights_that_are_none_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "weights.pth").write_text("no weights")
    with pytest.raises(SystemExit, match="2"):
        run.main(["--out", str(tmp_path / "out"), "--pretrained", str(tmp_path / "weights.pth")])
    assert "weights.pth: expected a file of weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_labels_want_the_folder_of_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        labels.main(["--out", str(tmp_path)])
    assert "expected the folder of a comparison" in capsys.readouterr().err


@pytest.mark.timeout(1200)
def test_two_steps_of_two_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    exported = []

    def export_once(arguments: list[str]) -> int:
        """The second row's network is that of the first: its export takes long and is tested elsewhere."""
        out = Path(arguments[arguments.index("--out") + 1])
        exported.append(out)
        if len(exported) == 1:
            return export.main(arguments)
        return 0 if shutil.copytree(exported[0], out).is_dir() else 1

    monkeypatch.setattr(run, "export_bundle", export_once)
    arguments = [
        "--out", str(tmp_path), "--synthetic", "--rows", "F", "W1", "--seeds", "3", "--iterations", "2",
        "--config", str(Path(run.__file__).with_name("cpu.yaml")),
        "--detector-iterations", "1", "--views", "4", "--train-clips", "1", "--train-frames", "2", "--val-clips", "1",
        "--val-frames", "2", "--size", "96", "320", "--jobs", "1", "--score", "0.1",
        "--set", "data.input_size=[64, 192]", "--set", "data.crop=[0, 0]", "--set", "method.weak.crf_side=32",
    ]  # fmt: skip
    run.main(arguments)
    results = read_results(tmp_path / "results")
    assert {row: list(seeds) for row, seeds in results.items()} == {"F": [3], "W1": [3]}
    car = results["W1"][3]["car"]
    assert set(car) == {*COLUMNS, *LOST}
    assert sum(car[part] for part in LOST) == pytest.approx(100 - car["sMOTSA"])
    assert "| W1 | L_loc + L_CRF + L_T (the paper) | 1 |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "ablation.png").stat().st_size > 1000
    trainings = [
        json.loads((tmp_path / "runs" / name / "recipe.json").read_text())["recipe"]["training"]
        for name in ("detector-3", "F-3", "W1-3")
    ]
    assert [training["supervision"] for training in trainings] == ["weak", "full", "weak"]
    # From scratch the branches of a row learn at twice the detector's 0.009.
    assert [training["learning_rate"] for training in trainings] == pytest.approx([0.009, 0.018, 0.018])
    detector, full, weak = (
        load_tensors(tmp_path / "runs" / name / "weights.pt") for name in ("detector-3", "F-3", "W1-3")
    )
    for name, value in detector.items():
        learnt = name.startswith(("mask.", "track."))
        assert torch.equal(full[name], value) != learnt, name
        assert torch.equal(weak[name], value) != learnt, name
    capfd.readouterr()
    run.main(arguments)  # everything is there
    assert "steps 0 to" not in capfd.readouterr().out
    labels.main(["--out", str(tmp_path), "--seed", "3", "--batches", "2", "--jobs", "0"])
    printed = capfd.readouterr().out
    assert all(f"| Grad-CAM, {variant} | car |" in printed for variant in VARIANTS)
    assert re.search(r"\| car \| \d+ \| \d+ \| 0\.\d+ \| 0\.\d+ \|", printed)
