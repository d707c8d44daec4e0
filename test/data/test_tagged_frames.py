"""Image tags as training reads them: every layout by hand, and what is left out, counted or refused."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.label_file import BoxLabel, FrameLabels, LabelFile, write_label_file
from wsperception.data.tagged_frames import read_tagged_frames
from wsperception.data.voc_annotations import THINGS, read_tag_array
from wsperception.errors import InputError
from wsperception.types import LabelSpace

ARRAY = Path(__file__).parents[3] / "shared/data/irn_voc12/voc12/cls_labels.npy"
LABELS = LabelSpace(("cat", "dog", "sky"), (True, True, False))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((4, 6, 3), np.uint8))


def tags_by_name(root: Path, split: str = "all", labels: LabelSpace = LABELS) -> dict[str, list[str]]:
    """Image name -> its tags; of frames that hold nothing else and are sequences of their own."""
    frames = read_tagged_frames((root,), split, labels)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    found = {}
    for frame in frames:
        assert frame.weak is not None and frame.weak.tags is not None
        assert frame.weak.boxes is None and frame.weak.points is None and frame.masks is None
        assert len(frame.boxes) == len(frame.class_ids) == len(frame.ignore_boxes) == 0
        found[frame.path.name] = [labels.names[row] for row in np.flatnonzero(frame.weak.tags)]
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c.png", "d.png"):
        picture(tmp_path / "table" / name)
    text = "a.png,dog,cat\nb.png,\n\nsub/c.png, sky \ngone.png,dog\nd.png\n"
    (tmp_path / "table/tags.csv").write_text(text)
    (tmp_path / "table/tags_val.csv").write_text("d.png,sky\n")
    return tmp_path / "table"


def test_a_table(table: Path, caplog: pytest.LogCaptureFixture):
    # b.png and d.png have no tag, gone.png is not on disk.
    assert tags_by_name(table) == {"a.png": ["cat", "dog"], "c.png": ["sky"]}
    assert f"{table}: 1 images that are not there, left out: gone.png" in caplog.text
    assert f"{table}: 2 images without tags, left out: b.png, d.png" in caplog.text
    assert tags_by_name(table, "val") == {"d.png": ["sky"]}
    both = read_tagged_frames((table, table), "val", LABELS)
    assert [frame.sequence for frame in both] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.png,cat\nb.png,cow,dog\nc.png,cow\n",
            r"line 2: expected tags of cat, dog, sky, got 'cow'; 2 tags are none",
        ),
        ("a.png,cat\na.png,dog\n", r"line 2: expected an image that no line before names, got 'a.png'"),
        (",cat\n", r"line 1: expected an image that no line before names, got ''"),
        ("a.png\nb.png\n", r"expected images with tags of cat, dog, sky, found none"),
        ("", r"expected images with tags of cat, dog, sky, found none"),
    ],
)
def test_a_table_with_faults(table: Path, text: str, message: str):
    (table / "tags.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tagged_frames((table,), "all", LABELS)


def test_a_table_that_is_none(table: Path):
    (table / "tags.csv").write_bytes(b"\xff\xfe,cat\n")
    with pytest.raises(InputError, match=r"tags.csv: not a table of text"):
        read_tagged_frames((table,), "all", LABELS)
    with pytest.raises(InputError, match=r"tags_test.csv: no such file; expected image,class,class,..."):
        read_tagged_frames((table,), "test", LABELS)


def test_the_real_tag_array_of_voc(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    if not ARRAY.is_file():
        pytest.skip(f"no VOC tags: {ARRAY.parent} is not there")
    root = tmp_path / "VOC2012"
    for name in ("2007_000032", "2007_000033", "2007_000042"):
        picture(root / f"JPEGImages/{name}.jpg")
    shutil.copy(ARRAY, root)
    labels = LabelSpace((*THINGS, "background"), (*[True] * 20, False))
    # VOC's annotations: two aeroplanes with two persons, an aeroplane, trains.
    expected = {
        "2007_000032.jpg": ["aeroplane", "person"],
        "2007_000033.jpg": ["aeroplane"],
        "2007_000042.jpg": ["train"],
    }
    found = tags_by_name(root, labels=labels)
    assert found == {name: [*tags, "background"] for name, tags in expected.items()}
    total = len(read_tag_array(ARRAY))
    assert f"{root}: {total - 3} images that are not there, left out" in caplog.text
    caplog.set_level("INFO")
    some = LabelSpace(("person", "train"), (True, True))
    assert tags_by_name(root, labels=some) == {"2007_000032.jpg": ["person"], "2007_000042.jpg": ["train"]}
    assert "tags of 19 other classes are left out: background" in caplog.text
    assert "1 images without tags, left out: 2007_000033.jpg" in caplog.text
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_000042\n")
    assert tags_by_name(root, "train", some) == {"2007_000042.jpg": ["train"]}
    (root / "ImageSets/Segmentation/train.txt").write_text("1999_000001\n")
    with pytest.raises(InputError, match=r"cls_labels.npy: expected tags of 1999_000001, which the split train names"):
        read_tagged_frames((root,), "train", some)
    with pytest.raises(InputError, match=r"data.classes: expected some of aeroplane, .*, background, got car2"):
        read_tagged_frames((root,), "all", LabelSpace(("person", "car2"), (True, True)))


def test_vocs_own_lists(tmp_path: Path):
    root = tmp_path / "VOC2012"
    picture(root / "JPEGImages/x.jpg")
    picture(root / "JPEGImages/y.jpg")
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    for name in THINGS:
        marks = {"dog": ("1", "-1"), "cat": ("0", "1")}.get(name, ("-1", "-1"))
        for split in ("trainval", "val"):
            (lists / f"{name}_{split}.txt").write_text(f"x {marks[0]:>2}\ny {marks[1]:>2}\n")
    labels = LabelSpace(("cat", "dog"), (True, True))
    assert tags_by_name(root, labels=labels) == {"x.jpg": ["cat", "dog"], "y.jpg": ["cat"]}  # 0: difficult ones only
    (lists / "val.txt").write_text("y\n")
    assert tags_by_name(root, "val", labels) == {"y.jpg": ["cat"]}
    (lists / "sofa_trainval.txt").write_text("x 2\n")
    with pytest.raises(
        InputError, match=r"sofa_trainval.txt: line 1: expected an image name and 1, 0 or -1, got 'x 2'"
    ):
        read_tagged_frames((root,), "all", labels)
    (lists / "sofa_trainval.txt").unlink()
    with pytest.raises(InputError, match=r"sofa_trainval.txt: no such file; expected VOC's image names"):
        read_tagged_frames((root,), "all", labels)


COCO = {
    "images": [{"id": 7, "file_name": "7.png"}, {"id": 3, "file_name": "3.png"}],
    "categories": [{"id": 40, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 5, "name": "sky"}],
    "annotations": [{"image_id": 3, "category_id": 40}, {"image_id": 3, "category_id": 2}],
}


def coco(root: Path, kind: str, content: dict) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / f"annotations/{kind}.json").write_text(json.dumps(content))


def test_coco_by_hand(tmp_path: Path):
    # Neither boxes nor masks are in these files; nobody looks for them.
    for name in ("images/val/3.png", "images/val/7.png"):
        picture(tmp_path / name)
    coco(tmp_path, "instances_val", COCO)
    assert tags_by_name(tmp_path) == {"3.png": ["cat", "dog"]}
    segments = [{"image_id": 7, "segments_info": [{"category_id": 5}, {"category_id": 40}]}]
    coco(tmp_path, "panoptic_val", COCO | {"annotations": segments})
    assert tags_by_name(tmp_path, "val") == {"7.png": ["dog", "sky"]}
    coco(tmp_path, "instances_train", COCO)
    with pytest.raises(InputError, match=r"annotations: data.split: expected one of train, val, got all"):
        read_tagged_frames((tmp_path,), "all", LABELS)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"image_id": 9, "category_id": 40}, r"annotations\[0\]: image_id: expected the id of an image, got 9"),
        ({"image_id": 3, "category_id": 1}, r"annotations\[0\]: category_id: expected the id of a category, got 1"),
        ({"image_id": 3}, r"annotations\[0\]: missing key 'category_id'"),
    ],
)
def test_coco_with_faults(tmp_path: Path, annotation: dict, message: str):
    picture(tmp_path / "val/3.png")
    coco(tmp_path, "instances_val", COCO | {"annotations": [annotation]})
    with pytest.raises(InputError, match=message):
        read_tagged_frames((tmp_path,), "all", LABELS)


def test_tags_of_our_own_labels_and_of_boxes(tmp_path: Path):
    frames = [
        FrameLabels(4, "images/4.png", 0, tags=("sky", "cat")),
        FrameLabels(6, "images/6.png", 0, tags=(), boxes=(BoxLabel("dog", None, (0, 0, 3, 3)),)),
        FrameLabels(8, "images/8.png", 0, boxes=(BoxLabel("dog", None, (0, 0, 3, 3)),)),
    ]
    for frame in frames:
        picture(tmp_path / frame.image)
    write_label_file(tmp_path, LabelFile("walk", "a camera", 2, (4, 6), LABELS, tuple(frames)))
    # In frame 6 somebody looked, and there is nothing; in frame 8 nobody gave tags, but boxes.
    assert tags_by_name(tmp_path) == {"4.png": ["cat", "sky"], "8.png": ["dog"]}


def test_a_drive_with_boxes_gives_their_classes(tmp_path: Path):
    picture(tmp_path / "image_02/0000/000000.png")
    picture(tmp_path / "image_02/0000/000001.png")
    (tmp_path / "label_02").mkdir()
    row = "1 5 Pedestrian 0 0 0 1 0 4 3 0 0 0 0 0 0 0\n"
    (tmp_path / "label_02/0000.txt").write_text(row)
    labels = LabelSpace(("car", "pedestrian"), (True, True))
    assert tags_by_name(tmp_path, labels=labels) == {"000001.png": ["pedestrian"]}
