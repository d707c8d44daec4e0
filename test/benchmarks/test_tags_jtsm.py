"""JTSM from tags: the rows, the truth, the arithmetic of the table, and a run of two steps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

from benchmarks.tags import jtsm as benchmark
from benchmarks.tags.jtsm_rows import LAYOUT, MEASURES, ROWS, STEPS
from benchmarks.tags.results import read_results, table
from benchmarks.tags.scenes import STUFF, THINGS, draw_scenes
from wsperception.settings import to_mapping


def test_rows_differ_from_the_whole_in_what_they_change():
    whole = to_mapping(benchmark.settings_of("whole"))
    assert whole["net"]["pooling"] == "invariant" and whole["net"]["refinements"] == 4
    assert whole["reestimate"]["evidence"] == "segment"
    for name, row in ROWS.items():
        found = to_mapping(benchmark.settings_of(name))
        assert {key: value for key, value in found["net"].items() if value != whole["net"][key]} == dict(row.changes)
        assert found["reestimate"]["evidence"] == row.evidence
        del found["net"], found["reestimate"]
        assert found == {key: value for key, value in whole.items() if key not in ("net", "reestimate")}
    assert ROWS["roi-no-branch"].changes == {**ROWS["no-branch"].changes, **ROWS["roi-pool"].changes}
    not_printed = {"roi-no-branch", "IS+re", "SS+re"}
    assert all(bool(LAYOUT.steps[step]) == not_printed.isdisjoint(step) for step in STEPS)


def test_the_truth_of_a_scene():
    for number, scene in enumerate(draw_scenes(6, 11)):
        truth = benchmark.truth_of(scene, str(number))
        np.testing.assert_array_equal(truth.semantic(), scene.semantic)
        assert (truth.class_ids[1:] < len(THINGS)).sum() == len(scene.masks)
        assert len(truth) - len(scene.masks) == len(np.unique(scene.semantic[scene.semantic >= len(THINGS)]))
        assert len(truth) - len(scene.masks) <= len(STUFF)


def test_the_table_by_hand(tmp_path: Path):
    def write(name: str, value: float) -> None:
        (tmp_path / f"{name}.json").write_text(json.dumps({"scores": dict.fromkeys(MEASURES, value)}))

    write("roi-pool@0", 20.0)
    write("whole@0", 23.0)
    write("whole@1", 27.0)
    lines = table(read_results(tmp_path, list(ROWS)), LAYOUT).splitlines()
    # Whole: mean of 23 and 27, deviation sqrt(2 * 2^2) = 2.8. Seed 0 alone has both rows: 3 points.
    assert lines[2].startswith("| whole | MoIPool, shape-invariant") and "| 2 | 25.0 ± 2.8 |" in lines[2]
    assert lines[2].endswith("| 39.0, 37.1, 77.7 |")
    (step,) = [line for line in lines if line.startswith("| whole - roi-pool |")]
    assert step.startswith("| whole - roi-pool | 1 | 3.0 |") and step.endswith("| +2.5, +2.5, +2.1 |")


def test_a_run_of_two_steps_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture):
    small = ["--out", str(tmp_path), "--steps", "2", "--warm-up", "1", "--train", "3", "--val", "1"]
    command = [*small, "--rows", "whole", "no-branch", "--seeds", "3"]
    assert benchmark.main(command) == 0
    results = sorted((tmp_path / "results").iterdir())
    assert [path.name for path in results] == ["no-branch@3.json", "whole@3.json"]
    assert set(json.loads(results[0].read_text())["scores"]) == {*MEASURES, "cpu_seconds"}
    before = [path.stat().st_mtime_ns for path in results]
    assert benchmark.main(command) == 0
    assert [path.stat().st_mtime_ns for path in results] == before
    assert "neither branch" in (tmp_path / "table.md").read_text()
    assert benchmark.main([*small, "--steps", "3"]) == 2
    assert "holds results of other settings" in capsys.readouterr().err


def test_other_settings_of_method_or_inference_need_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/n0@0.json").write_text(json.dumps({"scores": dict.fromkeys(MEASURES, 1.0)}))
    command = ["--out", str(tmp_path), "--rows", "n0", "--seeds", "0", "--val", "1"]  # of which nothing is missing
    assert benchmark.main(command) == 0
    for name, value in (
        ("SHARED", {**benchmark.SHARED, "hidden": 96}), ("LIMIT", 70), ("MIN_SIDE", 30.0),
        ("PROPOSALS", replace(benchmark.PROPOSALS, paired=50)),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(benchmark, name, value)
            assert benchmark.main(command) == 2
        assert "holds results of other settings" in capsys.readouterr().err
    assert benchmark.main([*command, "--min-score", "0.4"]) == 2
    assert benchmark.main(command) == 0
