"""Table 1 of WISE and the budget table: their arithmetic, and a run of one step."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from benchmarks.wise import budget, run, windows
from benchmarks.wise.report import read_results, table, verdicts
from benchmarks.wise.rows import MEASURES, ORDER, ROWS
from benchmarks.wise.runs import Bench
from wsperception.data.drive.sequence import IGNORE_ID, DriveFrame
from wsperception.data.kitti import list_sequences
from wsperception.data.label_file import FrameLabels, LabelFile, write_label_file
from wsperception.data.labelled_frames import read_labelled_frames
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


def test_the_row_of_tags_comes_from_runs_of_its_own(tmp_path: Path):
    for name, kinds in (("wise-0", [kind for kind in ROWS if kind != "prm"]), ("prm-0", ["prm"])):
        values = {kind: dict.fromkeys(MEASURES, 30.0) for kind in kinds}
        (tmp_path / f"{name}.json").write_text(json.dumps({"kinds": values}))
    assert "| PRM + E-Net, from tags | 30.0 |" in table(read_results(tmp_path))
    (tmp_path / "prm-0.json").unlink()
    assert "| PRM + E-Net, from tags | - |" in table(read_results(tmp_path))


def drive_frame(object_ids: np.ndarray) -> DriveFrame:
    image = np.arange(object_ids.size, dtype=np.uint32).view(np.uint8).reshape(*object_ids.shape, 4)[..., :3]
    no, none = np.zeros(0, np.int32), np.zeros((0, 4), np.float32)
    return DriveFrame(7, 0, image, object_ids, object_ids.astype(np.uint8), no, no, none, no, no, none)


def test_what_a_window_holds():
    ids = np.zeros((200, 300), np.uint16)
    ids[50:70, 100:120] = 1001  # 400 pixels, all of them in the window
    ids[60:70, 140:159] = 1002  # 190: too few
    ids[100:120, 155:255] = 2003  # 2,000, of which 20 x 43 = 860 are left, 43 %
    ids[130:150, 160:260] = 2004  # the same, 5 further to the right: 38 %
    ids[20:30, 70:80] = IGNORE_ID
    found = windows.window(drive_frame(ids), 30, 70)
    assert np.unique(found.object_ids).tolist() == [0, 1001, 2003, IGNORE_ID]
    assert (found.object_ids == IGNORE_ID).sum() == 190 + 20 * 38
    assert found.object_ids.shape == found.image.shape[:2] == (128, 128)
    assert (found.object_ids == 1001).sum() == 400 and found.object_ids[20, 30] == 1001
    assert (found.image == drive_frame(ids).image[30:158, 70:198]).all()
    assert ids[60, 140] == 1002  # the frame itself is as it was


def test_windows_are_laid_around_objects_that_fit(tmp_path: Path):
    count = windows.write_windows(tmp_path / "a", 3, 1)
    frames = read_labelled_frames((tmp_path / "a",), "all", LabelSpace(("car", "pedestrian"), (True, True)), "full")
    assert 0 < len(frames) == count <= windows.FRAMES
    assert all(len(frame.boxes) > 0 for frame in frames)
    assert all(frame.masks is not None and frame.masks.size == (windows.SIDE, windows.SIDE) for frame in frames)


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
        "--out", str(tmp_path), "--seeds", "3", "--counts", "2", "1",
        "--set", "training.iterations=1", "--set", "training.batch=2",
        "--set", "method.segments={superpixels: 60, paired: 20}",
    ]  # fmt: skip
    run.main(arguments)
    assert set(read_results(tmp_path / "results")[3]) == set(ROWS) - {"prm"}
    assert "WISE over best proposal" in (tmp_path / "table.md").read_text()
    capfd.readouterr()
    run.main(arguments)  # everything is there
    assert "steps 0 to" not in capfd.readouterr().out
    # One image is bought as its whole sequence; all but one of both sequences are nearer to both.
    train = tmp_path / "images/train"
    there = sum(len(sequence.images) for sequence in list_sequences(train))
    assert budget.drawn_sequences(train, 1, 0) in (["0000"], ["0001"])
    assert budget.drawn_sequences(train, there - 1, 0) == ["0000", "0001"]
    assert budget.drawn_sequences(train, 99, 0) == ["0000", "0001"]
    costs = budget.seconds_per_image(train, {"ids": 2.0})
    assert costs["boxes and ids"] == costs["boxes"] + 2.0
    assert (costs["tags"], costs["points"], costs["masks"]) == (20.0, 22.1, 239.7)
    # All images are bought by a thousand minutes: what learns from points or tags then learnt in Table 1 already.
    for name, scored, value in (
        ("prm", "prm", 5.0), ("boxes-2-sequences", "detections", 10.0),
        ("boxes-and-ids-2-sequences", "detections", 20.0), ("masks-2-sequences", "detections", 30.0),
    ):  # fmt: skip
        (tmp_path / f"results/{name}-3.json").write_text(json.dumps({"kinds": {scored: {"VOC AP50": value}}}))
    points = read_results(tmp_path / "results")[3]["wise"]["VOC AP50"]
    bench = Bench(tmp_path, train, tmp_path / "images/val", None)
    text = budget.table(bench, [1000.0], [3], {}, run.IMAGES["drives"].configs[True], ())
    assert capfd.readouterr().out == ""
    shown = [row.split("|")[3].strip() for row in text.splitlines() if row.startswith("| ")][1:]
    everything = f"with {there} images (all there are)"
    assert shown == [f"{value:.1f} {everything}" for value in (5.0, points, 10.0, 20.0, 30.0)]
