"""The table of benchmarks/panoptic, from scores that are known."""

import json
from pathlib import Path

from benchmarks.panoptic.report import class_table, table


def write(folder: Path, name: str, qualities: tuple[float, float, float]) -> None:
    (folder / name).mkdir(parents=True)
    parts = zip(("all", "things", "stuff"), qualities, strict=True)
    combined = {part: {"PQ": quality, "SQ": 70.0, "RQ": 50.0} for part, quality in parts}
    classes = {"car": {"PQ": qualities[1]}, "road": {"PQ": qualities[2] or None}}
    (folder / name / "scores.json").write_text(json.dumps({"combined": combined, "classes": classes}))


def test_ratios_are_to_full_labels_with_as_many_steps(tmp_path: Path) -> None:
    write(tmp_path, "full-0-0", (40.0, 50.0, 30.0))
    write(tmp_path, "full-1-0", (44.0, 54.0, 33.0))
    write(tmp_path, "full-3-0", (50.0, 60.0, 40.0))
    write(tmp_path, "weak-0-0", (30.0, 40.0, 18.0))
    write(tmp_path, "weak-1-0", (33.0, 27.0, 33.0))
    write(tmp_path, "weak-3-0", (42.0, 54.0, 30.0))
    write(tmp_path, "weak-3-1", (38.0, 54.0, 30.0))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(tmp_path).splitlines()]
    assert [line[0] for line in lines[2:]] == [
        "full labels, round 0",
        "full labels, as many steps as two rounds", "full labels, as many steps as four rounds",
        "boxes and tags, round 0", "boxes and tags, round 1", "boxes and tags, round 3",
    ]  # fmt: skip
    assert {len(line) for line in lines} == {10}
    assert all(line[6:] == ["-"] * 4 for line in lines[2:5])
    # 30 of 40, 40 of 50, 18 of 30; then 33 of 44, 27 of 54, 33 of 33.
    assert lines[5][6:] == ["75.0 %", "80.0 %", "60.0 %", "-"]
    assert lines[6][6:9] == ["75.0 %", "50.0 %", "100.0 %"]
    # Over seeds 40 of 50, with a deviation of 2.83; beside it 40.5 of 47.3, 35.8 of 39.6 and 43.9 of 52.9.
    assert lines[7][1] == "40.0 ± 2.8"
    assert lines[7][6:] == ["80.0 %", "90.0 %", "75.0 %", "85.6 % / 90.4 % / 83.0 %"]


def test_classes_are_means_over_seeds(tmp_path: Path) -> None:
    assert class_table(tmp_path) == "\n"
    write(tmp_path, "weak-2-0", (42.0, 54.0, 30.0))
    write(tmp_path, "weak-2-1", (38.0, 55.0, 0.0))  # a class that was never found has none
    assert class_table(tmp_path).splitlines() == [
        "| PQ | car | road |", "|---|---|---|", "| boxes and tags, round 2 | 54.5 | 15.0 |",
    ]  # fmt: skip
