"""Table 1 of WISE and the budget table: their arithmetic, and a run of one step."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from benchmarks.wise import budget, run
from benchmarks.wise.report import read_results, table, verdicts
from benchmarks.wise.rows import MEASURES, ORDER, ROWS
from wsperception.data.label_file import FrameLabels, LabelFile, write_label_file
from wsperception.errors import InputError
from wsperception.types import LabelSpace


def results(**ap50: tuple[float, ...]) -> dict:
    """Seed -> kind -> measures, all equal to the AP50 given; kinds not named get 1."""
    seeds = range(len(next(iter(ap50.values()))))
    return {
        seed: {
            kind: dict.fromkeys(MEASURES, ap50.get(kind.replace("-", "_"), (1.0,) * 9)[seed]) for kind in ROWS
        }
        for seed in seeds
    }  # fmt: skip


def test_the_papers_rows_are_in_its_order():
    papers = [ROWS[kind].paper for kind in ORDER]
    assert [paper[1] for paper in papers if paper] == [1.2, 33.4, 43.0, 47.0, 61.2]


def test_the_budget_of_the_paper():
    # 1,464 images at 20.0 s are 8.13 h, which buy 1,325 images with points and 122 with masks (section 4.3.2).
    minutes = 1464 * 20.0 / 60
    assert [budget.affordable(minutes, seconds) for seconds in (20.0, 22.1, 239.7)] == [1464, 1325, 122]


def test_verdicts():
    values = results(blobs=(1, 3), best=(10, 10), wise=(11, 14), true_points=(12, 12), true_mask=(30, 40))
    # WISE 12.5 on average: above the best proposal by 1.25, but not below the true points.
    order, ratio = verdicts(values)
    assert (
        order == "AP50: blobs < best, best < wise, wise >= (not as in the paper) true-points, true-points < true-mask."
    )
    assert ratio == "WISE over best proposal: 1.25; aim 1.2: reached."
    assert "missed" in verdicts(results(best=(10,), wise=(11.9,)))[1]


def test_table(tmp_path: Path):
    for seed, value in ((0, 40.0), (1, 44.0)):
        kinds = {kind: dict.fromkeys(MEASURES, value) for kind in ROWS}
        kinds["blobs"]["VOC AP75"] = None
        (tmp_path / f"wise-{seed}.json").write_text(json.dumps({"kinds": kinds}))
    text = table(read_results(tmp_path))
    # 40 and 44: 42 ± 4 / sqrt 2.
    assert "| WISE (L-Net + E-Net) | 42.0 ± 2.8 |" in text
    assert "| 53.5 / 43.0 / 25.9 |" in text
    assert next(line for line in text.splitlines() if line.startswith("| L-Net + blobs")).split("|")[4].strip() == "-"


def write_labels(folder: Path, *seconds: dict[str, float]) -> Path:
    (folder / "images").mkdir(parents=True)
    frames = tuple(FrameLabels(n, f"images/{n}.png", 0, points=(), seconds=each) for n, each in enumerate(seconds))
    write_label_file(folder, LabelFile("a", "b", 1, (9, 9), LabelSpace(("car",), (True,)), frames))
    return folder


def test_times_of_a_persons_own_labels(tmp_path: Path):
    # Points: 4 and 8 s on two of three frames. Reviewing is no label.
    folder = write_labels(tmp_path / "a", {"points": 4.0, "ids": 3.0}, {"points": 8.0, "review": 50.0}, {"review": 9.0})
    assert budget.measured_seconds(folder) == {"points": 6.0, "ids": 3.0}
    with pytest.raises(InputError, match="no labelling time is recorded"):
        budget.measured_seconds(write_labels(tmp_path / "b", {}))


@pytest.mark.timeout(1200)
def test_one_step_of_everything(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    arguments = [
        "--out", str(tmp_path), "--seeds", "3", "--train-sequences", "2", "--val-sequences", "1", "--frames", "2",
        "--size", "96", "320", "--set", "training.iterations=1", "--set", "training.batch=2",
        "--set", "method.segments={superpixels: 60, paired: 20}",
    ]  # fmt: skip
    run.main(arguments)
    assert set(read_results(tmp_path / "results")[3]) == set(ROWS)
    assert "WISE over best proposal" in (tmp_path / "table.md").read_text()
    capfd.readouterr()
    run.main(arguments)  # everything is there
    assert "steps 0 to" not in capfd.readouterr().out
    # One image is bought as its whole sequence of two; three images are nearer to both sequences.
    train = tmp_path / "drives/train"
    assert budget.drawn_sequences(train, 1, 0) in (["0000"], ["0001"])
    assert budget.drawn_sequences(train, 3, 0) == ["0000", "0001"]
    assert budget.drawn_sequences(train, 99, 0) == ["0000", "0001"]
    costs = budget.seconds_per_image(train, {"ids": 2.0})
    assert costs["boxes and ids"] == costs["boxes"] + 2.0
    assert (costs["tags"], costs["points"], costs["masks"]) == (20.0, 22.1, 239.7)
