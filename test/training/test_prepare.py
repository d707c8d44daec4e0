import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import prepare
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))


@pytest.fixture
def root(kitti_root: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(kitti_root, tmp_path / "copy"))


def test_a_sound_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--data", str(root)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0].split() == ["sequence", "images", "size", "car", "pedestrian", "ignore", "notes"]
    assert output[1].split() == ["0000", "5", "160x64", "5", "5", "0"]
    assert output[3] == "official train: 2 of 12 sequences, 10 images"


def test_a_missing_image_is_noted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "training/image_02/0001/000002.png").unlink()
    assert prepare.main(["--data", str(root), "--split", "0001"]) == 0
    output = capsys.readouterr().out
    assert (
        "1 frames without image: 2; 1 frames with a box but no image: 2; 1 frames with a mask but no image: 2" in output
    )


def test_every_problem_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = root / "training/image_02"
    (images / "0000/000001.png").write_bytes(b"broken")
    cv2.imwrite(str(images / "0000/000003.png"), np.zeros((60, 100, 3), np.uint8))
    boxes = root / "training/label_02/0001.txt"
    boxes.write_text(boxes.read_text().replace("Car", "Bus"))
    shutil.copytree(images / "0001", images / "0002")
    assert prepare.main(["--data", str(root)]) == 2
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("0")] == [
        "0000: 1 unreadable images: 1",
        "0000: images of 2 sizes: 100x60, 160x64",
        f"0001: {boxes}:1: class 'Bus' is unknown; expected one of Car, Pedestrian, Van, Truck, Person_sitting, "
        "Person, Cyclist, Tram, Misc, DontCare",
        "0002: neither label_02 nor masks",
    ]


def test_a_broken_picture_behind_a_sound_header(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "training/image_02/0000/000004.png"
    path.write_bytes(path.read_bytes()[:60])
    assert prepare.main(["--data", str(root)]) == 0
    assert prepare.main(["--data", str(root), "--decode"]) == 2
    assert "0000: 1 unreadable images: 4" in capsys.readouterr().err


def test_masks_of_another_size(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        cv2.imwrite(str(root / f"training/image_02/0000/{number:06d}.png"), np.zeros((64, 170, 3), np.uint8))
    assert prepare.main(["--data", str(root), "--split", "0000"]) == 2
    assert "0000: masks of 160x64, but images of 170x64" in capsys.readouterr().err


def test_boxes_outside_the_image_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = root / "training/label_02/0000.txt"
    with boxes.open("a") as file:
        outside = ("160 5 170 9", "5 64 9 70", "-9 5 0 9", "150 50 200 90")  # but for a part of the last one
        for track, box in enumerate(outside):
            file.write(f"4 {track} Car 0 0 -10 {box} -1 -1 -1 -1 -1 -1 -1\n")
    assert prepare.main(["--data", str(root), "--split", "0000"]) == 0
    assert "3 boxes outside the image, dropped in training" in capsys.readouterr().out


def test_weak_labels_are_the_boxes_of_the_masks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = read_labelled_frames((root,), "all", LABELS, "full")
    labels = root / "training/label_02"
    shutil.rmtree(labels)
    assert prepare.main(["--data", str(root), "--weak-labels", str(labels)]) == 0
    (root / "training/instances_txt").rename(tmp := root / "hidden")
    weak = read_labelled_frames((root,), "all", LABELS, "weak")
    for ours, theirs in zip(weak, full, strict=True):
        for name in ("boxes", "class_ids", "track_keys", "ignore_boxes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    tmp.rename(root / "training/instances_txt")
    assert prepare.main(["--data", str(root), "--weak-labels", str(labels)]) == 2
    assert "0000.txt: exists; expected a new file" in capsys.readouterr().err


def test_weak_labels_without_masks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "training/instances_txt/0001.txt").unlink()
    assert prepare.main(["--data", str(root), "--weak-labels", str(root / "new")]) == 2
    assert "sequence 0001: expected masks to derive boxes from, found none" in capsys.readouterr().err
    assert not (root / "new").exists()


def test_spans() -> None:
    assert prepare.spans([3, 4, 5, 9]) == "3-5, 9"
    assert prepare.spans([1, 3, 5, 7, 9, 11]) == "1, 3, 5, 7, 9, ..."
