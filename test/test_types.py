"""The result types refuse what is wrong, and say what."""

import dataclasses

import numpy as np
import pytest

from wsperception.errors import InputError
from wsperception.types import VOID, Frame, Instances, LabelSpace, SegmentMap, WeakLabels


def two_objects() -> dict[str, object]:
    """Fields of valid Instances: two objects, 3x3 grids, embeddings of length 2."""
    return {
        "boxes": np.array([[1, 2, 5, 9], [0, 0, 4, 4]], np.float32),
        "mask_boxes": np.array([[-1, 0, 7, 11], [0, 0, 4, 4]], np.float32),
        "masks": np.full((2, 3, 3), 0.25, np.float32),
        "scores": np.array([0.5, 1.0], np.float32),
        "class_ids": np.array([1, 0], np.int32),
        "embeddings": np.array([[0.6, 0.8], [1.0, 0.0]], np.float32),
        "image_size": (10, 20),
    }


def one_segment() -> dict[str, object]:
    """Fields of a valid SegmentMap of 2 x 3 pixels with one segment."""
    return {
        "ids": np.array([[0, 1, 1], [0, 0, 1]], np.uint16),
        "class_ids": np.array([VOID, 0], np.int32),
        "scores": np.array([0.0, 0.75], np.float32),
        "track_ids": np.array([0, 7], np.int32),
        "boxes": np.array([[0, 0, 0, 0], [1, 0, 3, 2]], np.float32),
    }


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image": np.zeros((2, 3, 3), np.float32)}, "Frame.image: expected uint8, got float32"),
        ({"image": np.zeros((2, 3), np.uint8)}, r"Frame.image: expected shape \(any, any, 3\), got \(2, 3\)"),
        ({"image": [[1]]}, "Frame.image: expected uint8, got list"),
        ({"image": np.zeros((0, 3, 3), np.uint8)}, "Frame.image: expected at least one pixel"),
        ({"index": -1}, "index and stamp_ns >= 0, got -1 and 5"),
        ({"stamp_ns": -2}, "index and stamp_ns >= 0, got 0 and -2"),
    ],
)
def test_frame_refuses(change, text):
    fields = {"image": np.zeros((2, 3, 3), np.uint8), "stamp_ns": 5, "source": "front", "index": 0}
    Frame(**fields)
    with pytest.raises(InputError, match=text):
        Frame(**{**fields, **change})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"boxes": np.zeros((2, 4))}, "Instances.boxes: expected float32, got float64"),
        ({"boxes": np.zeros((3, 4), np.float32)}, r"Instances.boxes: expected shape \(2, 4\), got \(3, 4\)"),
        ({"boxes": np.array([[5, 2, 1, 9], [0, 0, 4, 4]], np.float32)}, "x0 <= x1 and y0 <= y1"),
        ({"boxes": np.full((2, 4), np.nan, np.float32)}, "Instances.boxes: expected finite values"),
        ({"mask_boxes": np.full((2, 4), np.inf, np.float32)}, "Instances.mask_boxes: expected finite values"),
        ({"masks": np.full((2, 3, 3), 1.5, np.float32)}, r"Instances.masks: expected values in \[0, 1\]"),
        ({"masks": np.full((2, 9), 0.5, np.float32)}, r"Instances.masks: expected shape \(2, any, any\)"),
        ({"scores": np.array([0.5, -0.1], np.float32)}, r"Instances.scores: expected values in \[0, 1\]"),
        ({"class_ids": np.array([0, -1], np.int32)}, "Instances.class_ids: expected values >= 0, got -1"),
        ({"class_ids": np.array([0, 1])}, "Instances.class_ids: expected int32, got int64"),
        ({"embeddings": np.array([[3, 4], [1, 0]], np.float32)}, "expected unit length, got 5.0000"),
        ({"image_size": (0, 20)}, r"Instances.image_size: expected \(height, width\) >= 1, got \(0, 20\)"),
    ],
)
def test_instances_refuse(change, text):
    with pytest.raises(InputError, match=text):
        Instances(**{**two_objects(), **change})


def test_instances_select_keeps_all_fields_together():
    instances = Instances(**two_objects())
    swapped = instances.select(np.array([1, 0]))
    assert swapped.scores.tolist() == [1.0, 0.5]
    assert swapped.class_ids.tolist() == [0, 1]
    assert swapped.boxes[0].tolist() == [0, 0, 4, 4]
    assert swapped.mask_boxes[1].tolist() == [-1, 0, 7, 11]
    assert swapped.embeddings[1].tolist() == pytest.approx([0.6, 0.8])
    assert len(instances.select(instances.scores > 0.7)) == 1


def test_no_instances_keep_shapes():
    none = Instances.empty((10, 20), 3, 2)
    assert len(none) == 0
    assert none.masks.shape == (0, 3, 3)
    assert none.embeddings.shape == (0, 2)
    nobody = Instances(**two_objects()).select(np.zeros(2, bool))
    assert nobody.masks.shape == (0, 3, 3)
    assert nobody.image_size == (10, 20)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ids": np.zeros((2, 3), np.int32)}, "SegmentMap.ids: expected uint16, got int32"),
        ({"ids": np.full((2, 3), 2, np.uint16)}, "SegmentMap.ids: expected values below 2 rows, got 2"),
        ({"class_ids": np.array([0, 0], np.int32)}, "expected row 0 to be void"),
        ({"class_ids": np.array([VOID, VOID], np.int32)}, "class_ids and track_ids >= 0"),
        ({"track_ids": np.array([3, 7], np.int32)}, "expected row 0 to be void"),
        ({"track_ids": np.array([0, -7], np.int32)}, "class_ids and track_ids >= 0"),
        ({"scores": np.array([0.0, np.nan], np.float32)}, "SegmentMap.scores"),
        ({"boxes": np.zeros((3, 4), np.float32)}, r"SegmentMap.boxes: expected shape \(2, 4\), got \(3, 4\)"),
    ],
)
def test_segment_map_refuses(change, text):
    with pytest.raises(InputError, match=text):
        SegmentMap(**{**one_segment(), **change})


def test_segment_map_refuses_a_track_in_two_rows_but_not_two_untracked():
    fields = {
        "ids": np.array([[0, 1, 2]], np.uint16),
        "class_ids": np.array([VOID, 0, 1], np.int32),
        "scores": np.zeros(3, np.float32),
        "track_ids": np.array([0, 7, 7], np.int32),
        "boxes": np.zeros((3, 4), np.float32),
    }
    with pytest.raises(InputError, match="expected each track in one row, got a repeated id"):
        SegmentMap(**fields)
    assert len(SegmentMap(**{**fields, "track_ids": np.zeros(3, np.int32)})) == 2


def test_segment_map_tables_index_by_the_map():
    segments = SegmentMap(**one_segment())
    assert segments.track_ids[segments.ids].tolist() == [[0, 7, 7], [0, 0, 7]]
    assert segments.class_ids[segments.ids].tolist() == [[VOID, 0, 0], [VOID, VOID, 0]]
    empty = SegmentMap.empty((2, 3))
    assert len(empty) == 0
    assert empty.ids.shape == (2, 3)


def test_types_are_frozen():
    for made in (Instances(**two_objects()), SegmentMap(**one_segment()), LabelSpace(("car",), (True,))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.scores = None


def test_label_space():
    labels = LabelSpace(("car", "road"), (True, False))
    assert len(labels) == 2
    assert labels.id_of("road") == 1
    with pytest.raises(InputError, match="class 'tree': unknown; expected one of car, road"):
        labels.id_of("tree")
    with pytest.raises(InputError, match="one is_thing flag per name, got 2 and 1"):
        LabelSpace(("car", "road"), (True,))
    with pytest.raises(InputError, match="expected distinct, non-empty names, got car, car"):
        LabelSpace(("car", "car"), (True, True))
    with pytest.raises(InputError, match="one is_thing flag per name, got 0 and 0"):
        LabelSpace((), ())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"boxes": np.zeros((0, 4), np.float32)}, "expected boxes and box_classes together"),
        ({"points": np.zeros((0, 2), np.float32)}, "expected points and point_classes together"),
        ({"track_ids": np.zeros(0, np.int32)}, "expected only together with boxes"),
        (
            {"boxes": np.array([[3, 0, 3, 5]], np.float32), "box_classes": np.zeros(1, np.int32)},
            "WeakLabels.boxes: expected positive width and height",
        ),
        (
            {
                "boxes": np.array([[0, 0, 1, 1], [2, 2, 4, 4]], np.float32),
                "box_classes": np.array([1, 1], np.int32),
                "track_ids": np.array([6, 6], np.int32),
            },
            "expected unique ids per class in one image",
        ),
        ({"tags": np.zeros(2, np.int32)}, "WeakLabels.tags: expected bool, got int32"),
        ({"ignore_boxes": np.zeros((1, 3), np.float32)}, r"WeakLabels.ignore_boxes: expected shape \(any, 4\)"),
    ],
)
def test_weak_labels_refuse(fields, text):
    with pytest.raises(InputError, match=text):
        WeakLabels(**fields)


def test_weak_labels_tell_nothing_there_from_not_annotated():
    assert WeakLabels().boxes is None
    nothing_there = WeakLabels(boxes=np.zeros((0, 4), np.float32), box_classes=np.zeros(0, np.int32))
    assert len(nothing_there.boxes) == 0
    same_id_of_two_classes = WeakLabels(
        boxes=np.array([[0, 0, 1, 1], [2, 2, 4, 4]], np.float32),
        box_classes=np.array([0, 1], np.int32),
        track_ids=np.array([6, 6], np.int32),
    )
    assert same_id_of_two_classes.track_ids.tolist() == [6, 6]
