"""Learning from tags: the scenes, the arithmetic of the table, and a run of two steps."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

import torch

from benchmarks.tags import community, run
from benchmarks.tags.community import COLUMNS, LAYOUT, ROWS, SETTINGS, STEPS, built
from benchmarks.tags.exact import best_overlaps, shown_things, window
from benchmarks.tags.fill import drawn_objects, drawn_stuff, fills, region_fills
from benchmarks.tags.learning import settle
from benchmarks.tags.results import read_results, table
from benchmarks.tags.scenes import CLASSES, SIZE, STUFF, THINGS, draw_scenes
from wsperception.learn.proposals.segments import Proposals, segment_proposals


def test_scenes_are_what_they_say():
    scenes = draw_scenes(12, 3)
    for scene in scenes:
        assert scene.image.shape == (SIZE, SIZE, 3) and scene.image.dtype == np.uint8
        assert 1 <= len(scene.masks) <= 3 and len(scene.class_ids) == len(scene.masks)
        assert scene.masks.sum(axis=0).max() <= 1
        for mask, class_id, (x0, y0, x1, y1) in zip(scene.masks, scene.class_ids, scene.boxes.astype(int), strict=True):
            assert (scene.semantic[mask] == class_id).all()
            assert mask.sum() > 300 and mask[y0:y1, x0:x1].sum() == mask.sum()
            assert mask[y0].any() and mask[y1 - 1].any() and mask[:, x0].any() and mask[:, x1 - 1].any()
        assert (scene.semantic[~scene.masks.any(axis=0)] >= len(THINGS)).all()
        assert len(np.unique(scene.semantic[scene.semantic >= len(THINGS)])) <= 2


def test_things_fill_half_of_their_boxes():
    ids = np.zeros((60, 70), np.uint16)
    ids[10:40, 20:60] = 2  # 30 x 40 pixels
    ids[10:20, 20:50] = 0  # less 10 x 30: 900 of 1200, the box stays, for a column of it is left
    ids[50:60, 0:30] = 1  # 300 pixels are too few
    assert fills(ids) == {2: 0.75}
    shares = [fill for kind, fill in drawn_objects(12, 3) if kind == "scenes, things"]
    assert 0.45 < np.mean(shares) < 0.55 and min(shares) > 0.3


def test_stuff_fills_its_box_as_real_stuff_does():
    semantic = np.zeros((40, 50), np.int64)  # a region needs 20 pixels
    semantic[5:15, 10:30] = 6
    semantic[5:10, 15:30] = 6
    semantic[10:15, 10:25] = 2  # 10 x 20 less 5 x 15: 125 of 200, in one piece
    semantic[30:34, 0:4] = 6  # 16 pixels: too few
    semantic[15:18, 30:40] = 6  # touches a corner, so it is a region of its own: 30 of 30
    assert sorted(region_fills(semantic, 6)) == [125 / 200, 1.0]
    assert region_fills(semantic, 7) == []
    shares = [fill for _, fill in drawn_stuff(40, 900)]
    assert 0.55 < np.mean(shares) < 0.65 and np.mean(np.array(shares) < 0.5) > 0.1


def test_the_best_segment_is_half_of_an_object_of_which_it_is_the_half():
    superpixels = np.repeat(np.arange(4, dtype=np.int32), 10)[None].repeat(20, axis=0)  # columns of 10 x 20
    membership = np.array([[1, 0, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]], bool)  # the first, two in the middle, two left
    boxes = np.array([[0, 0, 10, 20], [10, 0, 30, 20], [0, 0, 20, 20]], np.float32)
    proposals = Proposals(superpixels, membership, np.ones(3, np.float32), boxes, np.array([200, 400, 400]))
    mask = np.zeros((20, 40), bool)
    mask[:, 4:10] = True  # 120 pixels: of 200, of 520 and of 400
    assert best_overlaps(proposals, mask) == pytest.approx((0.6, 0.6))
    mask[15:, 10:20] = True  # 50 more: 120 of 250, 50 of 520, 170 of 400; its box has 16 x 20: 120 of 400, 320 of 400
    assert best_overlaps(proposals, mask) == pytest.approx((0.48, 0.8))


def test_a_window_is_about_twice_its_object():
    image, mask = np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), bool)
    mask[100:150, 180:220] = True  # 50 x 40: a side of 110, brought to 128
    shown, inside = window(image, mask)
    assert shown.shape == (SIZE, SIZE, 3)
    assert inside.sum() == pytest.approx(2000 * (128 / 110) ** 2, rel=0.05)
    assert inside.any(axis=0).argmax() == pytest.approx((180 - 145) * 128 / 110, abs=1)
    _, inside = window(image[:, :220], mask[:, :220])  # at the right border: moved inwards, nothing is made up
    assert inside[:, -1].any() and not inside[:, 64].any()


def test_segments_of_scenes_are_parts_of_things():
    shares = []
    for _, image, mask in shown_things(12, 3):
        shares.append(best_overlaps(segment_proposals(image, SETTINGS.segments), mask))
    assert 0.55 < np.mean(shares, axis=0)[0] < 0.85


def test_no_class_is_in_every_scene_and_each_is_in_some():
    scenes = draw_scenes(40, 5)
    shares = [np.mean([(scene.semantic == class_id).any() for scene in scenes]) for class_id in range(len(CLASSES))]
    assert min(shares) > 0.1 and max(shares) < 0.8
    assert len(STUFF) == 4


def test_the_same_seed_draws_the_same():
    one, two, other = draw_scenes(2, 7), draw_scenes(3, 7), draw_scenes(2, 8)
    assert np.array_equal(one[1].image, two[1].image)
    assert not np.array_equal(one[1].image, other[1].image)
    assert not np.array_equal(one[0].image, one[1].image)


def test_rows_differ_from_the_whole_in_what_their_titles_say():
    changes = {name: dict(row.changes) for name, row in ROWS.items()}
    assert changes["REG"] == {} and SETTINGS.net.regressor == "agnostic" and SETTINGS.net.cams == 3
    assert changes["IS"] == {"regressor": "none"}
    assert changes["IMG"] == changes["IS"] | {"segmentation": False}
    assert changes["D"] == changes["IMG"] | {"cams": 0}
    assert [after for _, after in STEPS] == ["IMG", "IS", "REG"]


def test_a_settled_backbone_sees_the_same_and_learns_in_its_last_stage():
    net = built("D", 0).net
    image = torch.from_numpy(draw_scenes(1, 3)[0].image)
    boxes = torch.tensor([[10.0, 20, 60, 90], [0, 0, 128, 128]])
    with torch.no_grad():
        before = net.proposal_features(net.levels(image), boxes)
    settle(net.backbone.body)
    after = net.proposal_features(net.levels(image), boxes)
    torch.testing.assert_close(after.detach(), before, rtol=1e-4, atol=1e-4)
    after.sum().backward()
    learning = [name for name, parameter in net.backbone.named_parameters() if parameter.grad is not None]
    assert learning and all(name.startswith("body.stages.3.") for name in learning)


def test_the_table(tmp_path: Path):
    def write(name: str, value: float) -> None:
        scores = {column: value + number for number, column in enumerate(COLUMNS)}
        (tmp_path / f"{name}.json").write_text(json.dumps({"scores": scores}))

    write("IMG@0", 30.0)
    write("D@0", 20.0)
    write("D@1", 24.0)
    write("D@partial", 99.0)
    write("BG+FS@0", 1.0)
    results = read_results(tmp_path, list(ROWS))
    assert list(results) == ["D", "IMG", "BG+FS"] and list(results["D"]) == [0, 1]
    lines = table(results, LAYOUT).splitlines()
    (detector,) = [line for line in lines if line.startswith("| D |")]
    # AP50 is the second column: 21 and 25: mean 23, deviation sqrt(2 * 2^2) = 2.8.
    assert "| 2 | 22.0 ± 2.8 | 23.0 ± 2.8 |" in detector and detector.endswith("| 18.8 (3) |")
    (step,) = [line for line in lines if line.startswith("| IMG - D |")]
    assert step == "| IMG - D | 1 |" + 7 * " 10.0 |" + " 14.0 |"
    for head in ("| row |", "| rows |"):
        place = next(row for row, line in enumerate(lines) if line.startswith(head))
        assert lines[place].count("|") == lines[place + 1].count("|") == lines[place + 2].count("|")


def test_a_run_of_two_steps_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture):
    small = ["--out", str(tmp_path), "--steps", "2", "--warm-up", "1", "--train", "4", "--val", "1"]
    command = [*small, "--rows", "D", "REG", "--seeds", "3"]
    assert run.main(command) == 0
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["D@3.json", "REG@3.json"]
    values = json.loads((tmp_path / "results/REG@3.json").read_text())
    assert set(values["history"][0]) >= {"image", "refine", "box", "map", "mask"}
    assert all(0 <= value <= 100 for name, value in values["scores"].items() if name != "cpu_seconds")
    picture = cv2.imread(str(tmp_path / "pictures/REG@3.jpg"))
    assert picture is not None and picture.shape == (3 * SIZE, SIZE, 3)  # one scene; image, truth, found
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    assert "REG, seed 3" in capsys.readouterr().out
    assert run.main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()} == before
    assert "| REG |" in (tmp_path / "table.md").read_text()
    assert run.main([*small, "--rows", "D", "--steps", "3"]) == 2
    assert "holds results of other settings" in capsys.readouterr().err


def test_other_settings_of_method_or_inference_need_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/D@0.json").write_text(json.dumps({"scores": dict.fromkeys(COLUMNS, 1.0)}))
    command = ["--out", str(tmp_path), "--rows", "D", "--seeds", "0"]  # of which nothing is missing
    assert run.main(command) == 0
    for name, changes in (
        ("INFERENCE", {"mask_threshold": 0.5}), ("SETTINGS", {"background": 9}), ("NET", {"mask_side": 14}),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(community, name, replace(getattr(community, name), **changes))
            assert run.main(command) == 2
        assert "holds results of other settings" in capsys.readouterr().err
    assert run.main(command) == 0
