"""Segment maps written in COCO's panoptic format come back as they were."""

import json

import cv2
import numpy as np
import pytest

from wsperception.data.coco_panoptic import open_coco_panoptic
from wsperception.data.coco_panoptic_writer import PanopticWriter, category_numbers
from wsperception.data.drive.panoptic import CATEGORIES, LABEL_SPACE
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.types import VOID, LabelSpace, SegmentMap

LABELS = LabelSpace(("car", "pedestrian", "road", "sky"), (True, True, False, False))


def street(car_left: int, *, track: int = 300, width: int = 12) -> SegmentMap:
    """8 lines: sky above line 3, road below, a car of 4 x 3 pixels before both, a corner that is void."""
    ids = np.full((8, width), 3, np.uint16)
    ids[:3] = 2
    ids[2:5, car_left : car_left + 4] = 1
    ids[7, 0] = 0
    return SegmentMap(
        ids,
        np.array([VOID, 0, 3, 2], np.int32),
        np.array([0, 0.97, 0.75, 0.5], np.float32),
        np.array([0, track, 0, 0], np.int32),
        np.zeros((4, 4), np.float32),
    )


def test_categories_are_those_of_drives():
    assert category_numbers(LABEL_SPACE) == CATEGORIES
    # A class that KITTI does not have comes after its two; nine things push stuff back.
    other = LabelSpace(("pedestrian", "tram", "road"), (True, True, False))
    assert category_numbers(other) == (2, 3, 11)
    things = tuple(f"thing {number}" for number in range(9))
    assert category_numbers(LabelSpace((*things, "road"), (True,) * 9 + (False,))) == (3, 4, 5, 6, 7, 8, 9, 11, 12, 13)


def test_what_is_written_is_read(tmp_path):
    maps = [street(1), street(5), street(2, track=301, width=9)]
    with PanopticWriter(tmp_path / "panoptic", "0003", LABELS) as writer:
        for index, segments in zip((0, 1, 4), maps, strict=True):
            writer.add(index, segments)
    assert writer.path == tmp_path / "panoptic" / "0003.json"
    found = open_coco_panoptic(writer.path)
    assert found.labels == LABELS
    assert found.names == ("000000", "000001", "000004")
    assert found.scored
    for labels, segments in zip(found, maps, strict=True):
        assert (labels.class_ids[labels.ids] == segments.class_ids[segments.ids]).all()
        # Rows come back in the order of their numbers: car, road, sky.
        assert labels.class_ids.tolist() == [VOID, 0, 2, 3]
        assert labels.scores == pytest.approx([0, 0.97, 0.5, 0.75])


def test_numbers_and_boxes_by_hand(tmp_path):
    with PanopticWriter(tmp_path, "a", LABELS) as writer:
        writer.add(0, street(1))
        writer.add(1, street(5))
    content = json.loads(writer.path.read_text())
    assert [image["file_name"] for image in content["images"]] == ["a/000000.png", "a/000001.png"]
    car, sky, road = content["annotations"][1]["segments_info"]
    # Category 1, track 300: 65536 + 300. Stuff: 11 and 12 times 65536.
    assert (car["id"], sky["id"], road["id"]) == (65836, 786432, 720896)
    assert car == {"id": 65836, "category_id": 1, "area": 12, "bbox": [5, 2, 4, 3], "iscrowd": 0, "score": 0.97}
    # Sky has 3 * 12 pixels less the 4 of the car; road 5 * 12 less 8 and the void one.
    assert (sky["area"], sky["bbox"]) == (32, [0, 0, 12, 3])
    assert (road["area"], road["bbox"]) == (51, [0, 3, 12, 5])
    # Red + 256 green + 65536 blue: 65836 = 44 + 256 * 1 + 65536.
    png = cv2.imread(str(tmp_path / "a" / "000001.png"), cv2.IMREAD_UNCHANGED)
    assert png[3, 6].tolist() == [1, 1, 44]
    assert png[7, 0].tolist() == [0, 0, 0]


def test_things_without_a_track_stay_apart(tmp_path):
    ids = np.array([[1, 2, 3, 0]], np.uint16)
    segments = SegmentMap(
        ids, np.array([VOID, 1, 1, 1], np.int32), np.array([0, 0.9, 0.8, 0.7], np.float32),
        np.array([0, 0, 65535, 0], np.int32), np.zeros((4, 4), np.float32),
    )  # fmt: skip
    with PanopticWriter(tmp_path, "a", LABELS) as writer:
        writer.add(0, segments)
    info = json.loads(writer.path.read_text())["annotations"][0]["segments_info"]
    assert [entry["id"] - 2 * 65536 for entry in info] == [65534, 65535, 65533]


def test_rows_without_a_pixel_and_empty_frames(tmp_path):
    segments = street(1)
    hidden = SegmentMap(
        np.where(segments.ids == 1, np.uint16(2), segments.ids), segments.class_ids, segments.scores,
        segments.track_ids, segments.boxes,
    )  # fmt: skip
    with PanopticWriter(tmp_path, "a", LABELS) as writer:
        writer.add(0, hidden)
        writer.add(1, SegmentMap.empty((8, 12)))
    first, second = open_coco_panoptic(writer.path)
    assert first.class_ids.tolist() == [VOID, 2, 3]
    assert len(second) == 0
    with PanopticWriter(tmp_path, "b", LABELS) as writer:
        pass
    assert json.loads(writer.path.read_text())["images"] == []


def test_labels_keep_their_rows_and_crowds(tmp_path):
    # Void, car, a crowd of cars, another car, road; a pedestrian's row has no pixel.
    ids = np.array([[0, 1, 1, 2], [3, 4, 4, 4]], np.uint16)
    classes = np.array([VOID, 0, 0, 0, 2, 1], np.int32)
    crowd = np.array([False, False, True, False, False, False])
    with PanopticWriter(tmp_path, "0004", LABELS) as writer:
        writer.add_labels(7, PanopticLabels("hand", ids, classes, crowd, (classes >= 0).astype(np.float32)))
    segments = json.loads(writer.path.read_text())["annotations"][0]["segments_info"]
    # category * 65536 + row; a crowd and stuff have no number of their own.
    assert [one["id"] for one in segments] == [65536 + 1, 65536, 65536 + 3, 11 * 65536]
    assert [one["iscrowd"] for one in segments] == [0, 1, 0, 0]
    assert segments[0]["bbox"] == [1, 0, 2, 1]
    (found,) = open_coco_panoptic(writer.path)
    assert found.name == "000007"
    assert (found.semantic() == np.array([[255, 0, 0, 0], [0, 2, 2, 2]])).all()
    assert (found.is_crowd[found.ids] == (ids == 2)).all()
    assert found.ids[0, 1] != found.ids[1, 0]
