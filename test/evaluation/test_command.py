"""`wsperception eval` from files to files, and what it says to a user's mistakes."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.errors import InputError
from wsperception.evaluation.command import evaluate_command

pytest.importorskip("trackeval", reason="trackeval is not installed (extra: eval)")
pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra: eval)")

CAR = "{frame} {track} 1 2 3 123"  # 2 x 3 pixels, two of them taken
OTHER = "{frame} {track} 1 2 3 411"  # row 0 of column 2


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Ground truth and predictions of sequences 0000 and 0001, and a folder for the output that does not exist yet."""
    gt, pred = tmp_path / "gt", tmp_path / "pred"
    for folder, track in ((gt, 1001), (pred, 7)):
        folder.mkdir()
        for name in ("0000", "0001"):
            lines = [CAR.format(frame=frame, track=track) for frame in range(3)]
            (folder / f"{name}.txt").write_text("\n".join(lines))
    return gt, pred, tmp_path / "out"


def read_scores(out: Path) -> dict:
    return json.loads((out / "scores.json").read_text())


def test_files_in_files_out(files: tuple[Path, Path, Path]) -> None:
    gt, pred, out = files
    table = evaluate_command(gt, pred, out)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "scores.json"]
    content = read_scores(out)
    assert content["combined"]["car"]["sMOTSA"] == pytest.approx(100)
    assert list(content["sequences"]) == ["0000", "0001"]
    assert content["notes"] == []
    assert table.splitlines()[0].startswith("car")


def test_one_file_against_one_file_of_another_name(files: tuple[Path, Path, Path]) -> None:
    gt, pred, out = files
    packed = pred / "mine.txt.gz"
    packed.write_bytes(gzip.compress((pred / "0000.txt").read_bytes()))
    evaluate_command(gt / "0000.txt", packed, out)
    assert read_scores(out)["sequences"]["0000"]["car"]["TP"] == 3


def test_png_ground_truth_in_the_kitti_layout(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, pred, out = files
    folder = tmp_path / "root" / "training" / "instances" / "0001"
    folder.mkdir(parents=True)
    image = np.zeros((2, 3), np.uint16)
    image[1, 0] = image[0, 1] = 1004
    for frame in range(4):
        cv2.imwrite(str(folder / f"{frame:06d}.png"), image)
    evaluate_command(tmp_path / "root", pred, out)
    car = read_scores(out)["sequences"]["0001"]["car"]
    assert (car["TP"], car["FN"]) == (3, 1)
    (pred / "0001.txt").write_text(CAR.format(frame=4, track=7))
    with pytest.raises(InputError, match=r"0001\.txt: frame 4: expected frames 0 to 3 of sequence 0001"):
        evaluate_command(tmp_path / "root", pred, out, overwrite=True)


def test_sequences_can_be_chosen(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    gt, pred, out = files
    evaluate_command(gt, pred, out, sequences=["0001"])
    content = read_scores(out)
    assert list(content["sequences"]) == ["0001"]
    assert content["notes"] == ["predictions left out, as their sequences are not evaluated: 0000"]
    seqmap = tmp_path / "one.seqmap"
    seqmap.write_text("0000 empty 000000 000002\n")
    evaluate_command(gt, pred, out, seqmap=seqmap, overwrite=True)
    assert list(read_scores(out)["sequences"]) == ["0000"]
    with pytest.raises(InputError, match=r"one\.seqmap: no line for sequence 0001; there are 0000"):
        evaluate_command(gt, pred, out, seqmap=seqmap, sequences=["0001"], overwrite=True)
    with pytest.raises(InputError, match=r"gt: no ground truth of sequence 0005; there are 0000, 0001"):
        evaluate_command(gt, pred, out, sequences=["0005"], overwrite=True)


def test_a_missing_prediction_is_an_error_unless_it_may_be_empty(files: tuple[Path, Path, Path]) -> None:
    gt, pred, out = files
    (pred / "0001.txt").unlink()
    with pytest.raises(InputError, match=r"pred: no prediction of sequence 0001; there are 0000$"):
        evaluate_command(gt, pred, out)
    assert not out.exists()
    evaluate_command(gt, pred, out, missing_as_empty=True)
    content = read_scores(out)
    assert content["notes"] == ["no prediction of sequence 0001: counted as nothing found"]
    assert content["sequences"]["0001"]["car"]["FN"] == 3


def test_the_end_of_a_sequence(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    gt, pred, out = files
    with (pred / "0000.txt").open("a") as file:
        file.write("\n" + CAR.format(frame=5, track=7))
    evaluate_command(gt, pred, out)  # nobody says that the sequence ends at frame 2
    assert read_scores(out)["sequences"]["0000"]["car"]["FP"] == 1
    seqmap = tmp_path / "all.seqmap"
    seqmap.write_text("0000 empty 0 2\n0001 empty 0 2\n")
    with pytest.raises(InputError, match=r"0000\.txt: frame 5: expected frames 0 to 2 of sequence 0000"):
        evaluate_command(gt, pred, out, seqmap=seqmap, overwrite=True)
    images = tmp_path / "images"
    for name in ("0000", "0001"):
        (images / name).mkdir(parents=True)
        for frame in range(3):
            cv2.imwrite(str(images / name / f"{frame:06d}.jpg"), np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(InputError, match=r"0000\.txt: frame 5: expected frames 0 to 2 of sequence 0000"):
        evaluate_command(gt, pred, out, images=images, overwrite=True)


def test_earlier_scores_are_kept_unless_told_otherwise(files: tuple[Path, Path, Path]) -> None:
    gt, pred, out = files
    evaluate_command(gt, pred, out)
    before = (out / "scores.json").read_text()
    (pred / "0000.txt").write_text("")
    with pytest.raises(InputError, match=r"scores\.json: exists already; expected another output folder, or overwrite"):
        evaluate_command(gt, pred, out)
    assert (out / "scores.json").read_text() == before
    evaluate_command(gt, pred, out, overwrite=True)
    assert (out / "scores.json").read_text() != before
    with pytest.raises(InputError, match=r"scores\.json: expected a folder to write into, got a file"):
        evaluate_command(gt, pred, out / "scores.json")


def test_what_does_not_count_is_noted(files: tuple[Path, Path, Path]) -> None:
    gt, pred, out = files
    (gt / "0001.txt").write_text("")
    with (pred / "0000.txt").open("a") as file:
        file.write("\n" + OTHER.format(frame=0, track=9).replace(" 1 2 3", " 10 2 3"))
        file.write("\n" + OTHER.format(frame=1, track=9).replace(" 1 2 3", " 5 2 3"))
    table = evaluate_command(gt, pred, out)
    assert read_scores(out)["notes"] == [
        "prediction: 1 objects of class 5 left out",
        "prediction: 1 objects of class 10 left out",
        "ground truth of sequence 0001 holds no object",
    ]
    assert "note: ground truth of sequence 0001 holds no object" in table
    (gt / "0000.txt").write_text("0 1 1007 2 3 123\n")  # class and id changed places
    with pytest.raises(InputError, match=r"0000\.txt: expected objects of class 1 \(car\), 2 \(pedestrian\), got only"):
        evaluate_command(gt, pred, out, overwrite=True)


def test_malformed_and_overlapping_files_leave_nothing_behind(files: tuple[Path, Path, Path]) -> None:
    gt, pred, out = files
    good = (pred / "0001.txt").read_text()
    (pred / "0001.txt").write_text(good + "\n3 8 1 2 3\n")
    with pytest.raises(InputError, match=r"0001\.txt:4: expected 6 fields"):
        evaluate_command(gt, pred, out)
    (pred / "0001.txt").write_text(good + "\n" + CAR.format(frame=2, track=8))
    with pytest.raises(
        InputError, match=r"0001\.txt: frame 2: expected disjoint masks, got tracks 7 and 8 overlapping"
    ):
        evaluate_command(gt, pred, out)
    assert not out.exists()


def test_formats_are_listed(files: tuple[Path, Path, Path]) -> None:
    with pytest.raises(InputError, match="format 'coco': unknown; expected mots"):
        evaluate_command(*files, data_format="coco")


def test_a_missing_package_is_named(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trackeval.metrics", None)
    with pytest.raises(InputError, match=r'trackeval is not installed; pip install "wsperception\[eval\]"'):
        evaluate_command(*files)


def test_real_files_by_the_command(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    vectors = shared_data("mots_eval_vectors") / "dev_train_seqs"
    gt = shared_data("kitti_mots_gt")
    table = evaluate_command(gt, vectors / "tracker", tmp_path, seqmap=vectors / "seqmap")
    # The summary that lies beside the vectors.
    content = read_scores(tmp_path)["combined"]
    assert content["car"]["sMOTSA"] == pytest.approx(77.5390, abs=5e-5)
    assert content["pedestrian"]["HOTA"] == pytest.approx(58.5948, abs=5e-5)
    assert table.splitlines()[7].split()[:5] == ["all", "77.5", "86.0", "90.7", "12"]
    assert (tmp_path / "report.html").read_text().count("<img") == 6
