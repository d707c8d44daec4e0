"""Drives with panoptic labels: what the pixels say, what the files say, and that both agree with the masks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.coco_panoptic import open_coco_panoptic
from wsperception.data.drive.canvas import SEMANTIC_NUMBER
from wsperception.data.drive.panoptic import CATEGORIES, LABEL_SPACE, panoptic_of, segment_numbers_of
from wsperception.data.drive.sequence import IGNORE_ID, Drive, DriveFrame
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import write_drive

SMALL = DriveSettings(seed=3, frames=3, height=125, width=414, scene="crowd")


def frame_of(semantic: list[str], object_ids: list[int]) -> DriveFrame:
    """One row of pixels."""
    numbers = np.array([[SEMANTIC_NUMBER[name] for name in semantic]], np.uint8)
    none = np.zeros(0)
    return DriveFrame(
        0, 0, np.zeros((1, len(semantic), 3), np.uint8), np.array([object_ids], np.uint16), numbers, none, none, none,
        none, none, none,
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("drive") / "out"
    write_drive(out, SMALL, sequences=2, bag=False, panoptic=True)
    return out / "training"


def test_by_hand():
    # Two cars told apart, one too far away (in the ignore region), a pedestrian too small, a van, and the street: also
    # where the ignore region covers it.
    frame = frame_of(
        ["road", "car", "car", "car", "pedestrian", "other vehicle", "sky", "road"],
        [0, 1002, 1007, IGNORE_ID, IGNORE_ID, IGNORE_ID, 0, IGNORE_ID],
    )
    assert segment_numbers_of(frame).tolist() == [[11000, 1002, 1007, 1000, 2000, 0, 15000, 11000]]
    labels = panoptic_of(frame, "hand")
    names = ["void" if row < 0 else LABEL_SPACE.names[row] for row in labels.class_ids.tolist()]
    assert names == ["void", "car", "car", "car", "pedestrian", "road", "sky"]
    assert labels.ids.tolist() == [[5, 2, 3, 1, 4, 0, 6, 5]]
    assert labels.is_crowd.tolist() == [False, True, False, False, True, False, False]


def test_things_come_first_and_categories_are_those_of_mots():
    assert LABEL_SPACE.names[:2] == ("car", "pedestrian")
    assert LABEL_SPACE.is_thing == (True, True, *[False] * 6)
    assert CATEGORIES == (1, 2, 11, 12, 13, 14, 15, 16)


def test_every_pixel_has_a_class_and_things_are_the_masks():
    for frame in Drive(SMALL).frames():
        labels = panoptic_of(frame, "frame")
        void = labels.ids == 0
        assert (void == (frame.semantic == SEMANTIC_NUMBER["other vehicle"])).all()
        for number in frame.ids.tolist():
            rows = np.unique(labels.ids[frame.object_ids == number])
            assert len(rows) == 1
            assert ((labels.ids == rows[0]) == (frame.object_ids == number)).all()


def test_files_are_the_frames(written):
    images = written / "image_02"
    found = open_coco_panoptic(written / "panoptic", images)
    assert found.labels == LABEL_SPACE
    assert found.names[:4] == ("0000/000000", "0000/000001", "0000/000002", "0001/000000")
    for sequence in (0, 1):
        for frame in Drive(SMALL, sequence).frames():
            name = f"{sequence:04d}/{frame.index:06d}"
            wanted, labels = panoptic_of(frame, name), found.read(name)
            assert (labels.ids == wanted.ids).all()
            assert labels.class_ids.tolist() == wanted.class_ids.tolist()
            assert labels.is_crowd.tolist() == wanted.is_crowd.tolist()
            assert labels.image == images / f"{name}.png"
            assert labels.image.is_file()


def test_numbers_are_those_of_the_masks_and_entries_those_of_coco(written):
    entries = json.loads((written / "panoptic" / "0001.json").read_text())["annotations"][2]
    colours = np.asarray(cv2.imread(str(written / "panoptic" / "0001" / entries["file_name"])))
    numbers = colours.astype(int) @ [65536, 256, 1]  # OpenCV: blue first
    masks = np.asarray(cv2.imread(str(written / "instances" / "0001" / entries["file_name"]), cv2.IMREAD_UNCHANGED))
    things = (masks > 0) & (masks != IGNORE_ID)
    assert (numbers[things] == masks[things]).all()
    assert len(entries["segments_info"]) > 5
    for segment in entries["segments_info"]:
        rows, columns = np.nonzero(numbers == segment["id"])
        assert segment["area"] == len(rows)
        x, y = columns.min(), rows.min()
        assert segment["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert segment["category_id"] == segment["id"] // 1000


def test_the_same_bytes_again_and_nothing_unasked(written, tmp_path):
    write_drive(tmp_path / "again", SMALL, sequences=2, jobs=2, bag=False, panoptic=True)
    for path in written.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again/training" / path.relative_to(written)).read_bytes()
    write_drive(tmp_path / "plain", SMALL, bag=False)
    assert not (tmp_path / "plain/training/panoptic").exists()
