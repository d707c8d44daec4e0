import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import prepare
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))


@pytest.fixture
def root(kitti_root: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(kitti_root, tmp_path / "copy"))


def test_a_sound_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main([str(root)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "layout: KITTI tracking or KITTI MOTS"
    assert output[1].split() == ["sequence", "images", "size", "car", "pedestrian", "ignore", "ids", "notes"]
    assert output[2].split() == ["0000", "5", "160x64", "5", "5", "0", "2"]
    assert output[4] == "official train: 2 of 12 sequences, 10 images"


def test_a_missing_image_is_noted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "training/image_02/0001/000002.png").unlink()
    assert prepare.main([str(root), "--split", "0001"]) == 0
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
    assert prepare.main([str(root)]) == 2
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
    assert prepare.main([str(root)]) == 0
    assert prepare.main([str(root), "--decode"]) == 2
    assert "0000: 1 unreadable images: 4" in capsys.readouterr().err


def test_masks_of_another_size(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        cv2.imwrite(str(root / f"training/image_02/0000/{number:06d}.png"), np.zeros((64, 170, 3), np.uint8))
    assert prepare.main([str(root), "--split", "0000"]) == 2
    assert "0000: masks of 160x64, but images of 170x64" in capsys.readouterr().err


def test_boxes_outside_the_image_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = root / "training/label_02/0000.txt"
    with boxes.open("a") as file:
        outside = ("160 5 170 9", "5 64 9 70", "-9 5 0 9", "150 50 200 90")  # but for a part of the last one
        for track, box in enumerate(outside):
            file.write(f"4 {track} Car 0 0 -10 {box} -1 -1 -1 -1 -1 -1 -1\n")
    assert prepare.main([str(root), "--split", "0000"]) == 0
    assert "3 boxes outside the image, dropped in training" in capsys.readouterr().out


def test_a_weak_folder_has_the_boxes_of_the_masks_and_no_mask(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = read_labelled_frames((root,), "all", LABELS, "full")
    out = tmp_path / "below" / "weak"
    assert prepare.main([str(root), "--out", str(out)]) == 0
    weak = read_labelled_frames((out,), "all", LABELS, "weak")
    for ours, theirs in zip(weak, full, strict=True):
        for name in ("boxes", "class_ids", "track_keys", "ignore_boxes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert ours.path.read_bytes() == theirs.path.read_bytes()
    assert sorted(path.name for path in (out / "training").iterdir()) == ["image_02", "label_02"]
    assert [path.name for path in out.parent.iterdir()] == ["weak"]
    with pytest.raises(InputError, match="sequence 0000: expected masks"):
        read_labelled_frames((out,), "all", LABELS, "full")
    assert prepare.main([str(root), "--out", str(out)]) == 2
    assert "weak: exists; expected a new folder" in capsys.readouterr().err


def test_nothing_is_left_of_a_weak_folder_that_failed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wsperception.data.weak_folder.kitti.write_tracking_labels", fail)
    assert prepare.main([str(root), "--out", str(tmp_path / "below" / "weak")]) == 2
    assert list((tmp_path / "below").iterdir()) == []


def test_no_weak_folder_of_what_is_broken(root: Path, tmp_path: Path) -> None:
    (root / "training/instances_txt/0001.txt").write_text("0 1 1 64 160\n")
    assert prepare.main([str(root), "--out", str(tmp_path / "weak")]) == 2
    assert not (tmp_path / "weak").exists()


def test_an_archive_of_cvat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {1: "1,1,10,20,30,20,1,1,1.0\n1,-1,50,20,10,20,1,2,1.0\n", 2: "2,1,12,20,30,20,1,1,1.0\n2,2,7,7,0,9,1,2,1\n"}
    image = cv2.imencode(".png", np.zeros((64, 160, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(tmp_path / "street.zip", "w") as archive:
        archive.writestr("gt/gt.txt", "".join(rows.values()))
        archive.writestr("gt/labels.txt", "car\npedestrian")
        for number in rows:
            archive.writestr(f"img1/frame_{number - 1:06d}.png", image)
    out = tmp_path / "weak"
    assert prepare.main([str(tmp_path / "street.zip"), "--out", str(out)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "layout: MOTChallenge, or CVAT's MOT 1.1"
    assert output[2].split()[:7] == ["street", "2", "160x64", "2", "0", "1", "1"]
    assert "1 times dropped: box without area; 1 times dropped: box without an id, ignored" in output[2]
    assert output[3] == f"boxes and ids: {out}"
    frames = read_labelled_frames((out,), "all", LABELS, "weak")
    assert [frame.boxes.tolist() for frame in frames] == [[[10, 20, 40, 40]], [[12, 20, 42, 40]]]
    assert frames[0].track_keys.tolist() == frames[1].track_keys.tolist()
    assert frames[0].ignore_boxes.tolist() == [[50, 20, 60, 40]]
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert prepare.main([str(tmp_path / "broken.zip")]) == 2
    assert "broken.zip: cannot be unpacked: File is not a zip file" in capsys.readouterr().err


def test_boxes_without_ids_are_said_so_and_have_no_place_in_label_02(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "export"
    for part in ("image_2", "label_2"):
        (root / "default" / part).mkdir(parents=True)
    cv2.imwrite(str(root / "default/image_2/a.png"), np.zeros((64, 160, 3), np.uint8))
    (root / "default/label_2/a.txt").write_text("car 0 0 -1 1 2 30 40 -1 -1 -1 -1 -1 -1 -1\n")
    assert prepare.main([str(root)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[2].split()[:7] == ["default", "1", "160x64", "1", "0", "0", "none"]
    assert output[2].endswith("boxes without ids: every image is a clip of its own")
    assert prepare.main([str(root), "--out", str(tmp_path / "weak")]) == 2
    assert "sequence default: boxes without ids; label_02 has a place only for" in capsys.readouterr().err


def test_an_empty_sequence_is_noted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("label_02", "instances_txt"):
        (root / f"training/{part}/0001.txt").write_text("")
    assert prepare.main([str(root), "--split", "0001"]) == 0
    assert "no object in any frame" in capsys.readouterr().out
    for path in (root / "training/image_02/0001").iterdir():
        path.unlink()
    assert prepare.main([str(root), "--split", "0001"]) == 2
    assert "0001: no images" in capsys.readouterr().err


def test_real_frames_and_labels(
    shared_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Three images of sequence 0001, and the masks and boxes of all its 447 frames.
    root = tmp_path / "kitti"
    root.mkdir()
    (root / "image_02").symlink_to(shared_data("kitti_mini") / "training/image_02")
    (root / "label_02").symlink_to(shared_data("kitti_tracking_labels") / "label_02")
    (root / "instances_txt").symlink_to(shared_data("kitti_mots_gt") / "instances_txt")
    assert prepare.main([str(root), "--out", str(tmp_path / "weak")]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[2].split()[:3] == ["0001", "3", "1242x375"]
    assert "frames with a mask but no image" in output[2]
    assert output[3] == "official train: 1 of 12 sequences, 3 images"
    weak = read_labelled_frames((tmp_path / "weak",), "train", LABELS, "weak")
    full = read_labelled_frames((root,), "train", LABELS, "full")
    for ours, theirs in zip(weak, full, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.class_ids, theirs.class_ids)
        np.testing.assert_array_equal(ours.ignore_boxes, theirs.ignore_boxes)


def test_spans() -> None:
    assert prepare.spans([3, 4, 5, 9]) == "3-5, 9"
    assert prepare.spans([1, 3, 5, 7, 9, 11]) == "1, 3, 5, 7, 9, ..."
