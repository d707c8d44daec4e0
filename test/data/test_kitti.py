from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsperception.data import kitti
from wsperception.data.mots import read_seqmap
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
TAIL = "1.5 1.6 3.9 -4.5 1.8 13.4 -2.1"


def row(frame: int, track_id: int, name: str, box: str) -> str:
    return f"{frame} {track_id} {name} 0 0 -1.79 {box} {TAIL}\n"


def label_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "0007.txt"
    path.write_text(text)
    return path


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.parametrize("below", ["", "training/"])
def test_sequences_with_what_was_annotated(tmp_path: Path, below: str) -> None:
    root = tmp_path / below
    for number in ("000010", "000002"):
        touch(root / f"image_02/0001/{number}.png")
    touch(root / "image_02/0000/000000.jpg")
    touch(root / "image_02/0002/000000.png")
    touch(root / "label_02/0001.txt")
    touch(root / "instances_txt/0001.txt")
    touch(root / "instances/0002/000000.png")
    zero, one, two = kitti.list_sequences(tmp_path)
    assert [zero.name, one.name, two.name] == ["0000", "0001", "0002"]
    assert list(one.images) == [2, 10]
    assert one.images[10].name == "000010.png"
    assert (zero.boxes_path, zero.masks_path) == (None, None)
    assert (one.boxes_path, one.masks_path) == (root / "label_02/0001.txt", root / "instances_txt/0001.txt")
    assert (two.boxes_path, two.masks_path) == (None, root / "instances/0002")


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: no such folder; expected a KITTI"):
        kitti.list_sequences(tmp_path / "absent")
    with pytest.raises(InputError, match="expected images in image_02/NAME/"):
        kitti.list_sequences(tmp_path)
    touch(tmp_path / "image_02/0000/front.png")
    with pytest.raises(InputError, match=r"front\.png: expected an image named by its frame number"):
        kitti.list_sequences(tmp_path)


def test_a_frame_twice(tmp_path: Path) -> None:
    touch(tmp_path / "7.png")
    touch(tmp_path / "000007.jpg")
    with pytest.raises(InputError, match=r"7\.png: frame 7 is there twice, also as 000007\.jpg"):
        kitti.list_images(tmp_path)


def test_split_of_kitti_mots() -> None:
    # The lists of train.seqmap and val.seqmap: 12 and 9 of the 21 sequences, none in both.
    assert (len(kitti.MOTS_TRAIN), len(kitti.MOTS_VAL)) == (12, 9)
    assert kitti.SPLITS["fulltrain"] == tuple(f"{number:04d}" for number in range(21))


def test_select() -> None:
    sequences = [kitti.KittiSequence(name, {}, None, None) for name in ("0000", "0002", "extra")]

    def names(split: str) -> list[str]:
        return [sequence.name for sequence in kitti.select(sequences, split)]

    assert names("all") == ["0000", "0002", "extra"]
    assert names("train") == ["0000"]
    assert names("val") == ["0002"]
    assert names("extra,0000") == ["extra", "0000"]
    with pytest.raises(InputError, match="sequence '0009': not there; expected one of 0000, 0002, extra"):
        kitti.select(sequences, "0009")
    with pytest.raises(InputError, match="split 'val': none of its sequences is there; found extra"):
        kitti.select(sequences[2:], "val")


def test_boxes_by_hand(tmp_path: Path) -> None:
    text = (
        row(3, 5, "Pedestrian", "10.5 20 30 60.25")
        + row(0, -1, "DontCare", "1 2 3 4")
        + row(3, 5, "Car", "100 50 180 90")  # the same id in another class is another object
        + row(3, 6, "Van", "7 8 9 10")
    )
    found = kitti.read_tracking_labels(label_file(tmp_path, text), LABELS)
    assert list(found.frames) == [0, 3]
    assert found.dropped == {}
    zero, three = found.frames[0], found.frames[3]
    assert zero.boxes.shape == (0, 4)
    assert zero.ignore_boxes.tolist() == [[1, 2, 3, 4]]
    assert three.boxes.tolist() == [[10.5, 20, 30, 60.25], [100, 50, 180, 90]]
    assert three.class_ids.tolist() == [1, 0]
    assert three.track_ids.tolist() == [5, 5]
    assert three.ignore_boxes.tolist() == [[7, 8, 9, 10]]
    assert three.boxes.dtype == np.float32


def test_a_class_that_the_model_does_not_know_is_ignored(tmp_path: Path) -> None:
    path = label_file(tmp_path, row(0, 1, "Pedestrian", "1 2 3 4") + row(0, 2, "Car", "5 6 7 8"))
    found = kitti.read_tracking_labels(path, LabelSpace(("car",), (True,))).frames[0]
    assert found.boxes.tolist() == [[5, 6, 7, 8]]
    assert found.ignore_boxes.tolist() == [[1, 2, 3, 4]]


def test_a_class_of_the_label_space_under_its_own_name(tmp_path: Path) -> None:
    path = label_file(tmp_path, row(0, 1, "Cyclist", "1 2 3 4"))
    found = kitti.read_tracking_labels(path, LabelSpace(("car", "Cyclist"), (True, True))).frames[0]
    assert found.class_ids.tolist() == [1]


def test_boxes_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    text = row(0, 1, "Car", "5 6 5 9") + row(0, 2, "Car", "5 6 8 6") + row(1, 3, "Car", "5 6 7 8")
    found = kitti.read_tracking_labels(label_file(tmp_path, text), LABELS)
    assert found.dropped == {"box without area": 2}
    assert found.frames[0].boxes.shape == (0, 4)
    assert found.frames[1].track_ids.tolist() == [3]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("1 2 Car", "expected at least 10 columns of KITTI tracking, got 3"),
        ("0 1001 1 375 1242 abc", "a mask of KITTI MOTS, where a box of KITTI tracking was expected"),
        (row(0, 1, "Car", "1 2 x 4"), "expected numbers for frame, id and box"),
        (row(-1, 1, "Car", "1 2 3 4"), "expected a frame >= 0 and a finite box"),
        (row(0, 1, "Car", "1 2 nan 4"), "expected a frame >= 0 and a finite box"),
        (row(0, 1, "Car", "8 2 3 4"), "expected x0 <= x1 and y0 <= y1, got 8 2 3 4"),
        (row(0, 1, "Bus", "1 2 3 4"), "class 'Bus' is unknown; expected one of Car, Pedestrian"),
        (row(0, -1, "Car", "1 2 3 4"), "expected a track id >= 0, got -1"),
        (row(0, 9, "Car", "1 2 3 4"), "Car 9 is there twice in one frame"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, bad: str, complaint: str) -> None:
    path = label_file(tmp_path, row(0, 9, "Car", "1 2 3 4") + "\n" + bad)
    with pytest.raises(InputError) as caught:
        kitti.read_tracking_labels(path, LABELS)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert complaint in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        kitti.read_tracking_labels(tmp_path / "absent.txt", LABELS)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="expected a text file"):
        kitti.read_tracking_labels(tmp_path / "binary.txt", LABELS)
    assert kitti.read_tracking_labels(label_file(tmp_path, ""), LABELS).frames == {}


def test_written_labels_read_back(tmp_path: Path) -> None:
    text = row(2, 4, "Pedestrian", "1.125 2 3 4") + row(2, 4, "Car", "5 6 7 8.5") + row(2, -1, "DontCare", "0 0 9 9")
    before = kitti.read_tracking_labels(label_file(tmp_path, text), LABELS)
    kitti.write_tracking_labels(tmp_path / "copy.txt", before.frames, LABELS)
    after = kitti.read_tracking_labels(tmp_path / "copy.txt", LABELS)
    assert list(after.frames) == [2]
    for name in ("boxes", "class_ids", "track_ids", "ignore_boxes"):
        np.testing.assert_array_equal(getattr(after.frames[2], name), getattr(before.frames[2], name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0007.txt", "copy.txt"]


def test_real_labels(shared_data: Callable[[str], Path]) -> None:
    # Counted with awk: 19,111 Car and 8,115 Pedestrian rows; every other row is ignored.
    objects, ignored = [0, 0], 0
    for path in sorted((shared_data("kitti_tracking_labels") / "label_02").glob("*.txt")):
        found = kitti.read_tracking_labels(path, LABELS)
        assert found.dropped == {}
        for frame in found.frames.values():
            for class_id in (0, 1):
                objects[class_id] += int((frame.class_ids == class_id).sum())
            ignored += len(frame.ignore_boxes)
    assert objects == [19111, 8115]
    assert ignored == 1340 + 12179 + 577 + 509 + 468 + 891 + 2287


def test_the_splits_are_those_of_the_official_sequence_maps(shared_data: Callable[[str], Path]) -> None:
    for split, names in kitti.SPLITS.items():
        assert tuple(sorted(read_seqmap(shared_data("kitti_mots_gt") / f"{split}.seqmap"))) == names
