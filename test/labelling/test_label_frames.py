"""Labels as the types that training reads."""

import dataclasses

import numpy as np
import pytest

from wsperception.data.label_file import BoxLabel, FrameLabels
from wsperception.data.label_frames import box_sequence, weak_labels
from wsperception.errors import InputError
from wsperception.types import LabelSpace


def test_everything_annotated(labelled):
    other_order = LabelSpace(("pedestrian", "tram", "car"), (True, True, True))
    weak = weak_labels(labelled.frames[0], other_order)
    assert weak.tags.tolist() == [True, False, False]
    assert weak.boxes.tolist() == [[10, 20.25, 60.5, 80], [0, 0, 20, 50], [100, 10, 200, 120]]
    assert weak.box_classes.tolist() == [2, 0, 2]
    assert weak.track_ids is None  # one of the boxes has none
    assert weak.points.tolist() == [[30.5, 40.0], [pytest.approx(199.99), pytest.approx(119.99)]]
    assert weak.point_classes.tolist() == [2, 0]
    assert weak.ignore_boxes.tolist() == [[150, 0, 200, 15.5]]
    assert weak.segments is None


def test_annotated_and_empty(labelled):
    weak = weak_labels(labelled.frames[1], labelled.labels)
    assert weak.tags.tolist() == [False, False]
    assert weak.boxes.shape == (0, 4) and weak.box_classes.shape == (0,) and weak.track_ids.shape == (0,)
    assert weak.points.shape == (0, 2) and weak.ignore_boxes.shape == (0, 4)


def test_not_annotated(labelled):
    weak = weak_labels(labelled.frames[2], labelled.labels)
    assert all(getattr(weak, field.name) is None for field in dataclasses.fields(weak))


def test_ids(labelled):
    frame = dataclasses.replace(labelled.frames[0], boxes=labelled.frames[0].boxes[:2])
    assert weak_labels(frame, labelled.labels).track_ids.tolist() == [3, 3]  # a car and a pedestrian


def test_unknown_class(labelled):
    with pytest.raises(InputError, match="class 'pedestrian': unknown; expected one of car"):
        weak_labels(labelled.frames[0], LabelSpace(("car",), (True,)))


def test_a_sequence_of_boxes(tmp_path, labelled):
    sequence = box_sequence(tmp_path, labelled, labelled.labels)
    assert sequence.name == "0007"
    assert sequence.images == {0: tmp_path / "images/000000.png", 5: tmp_path / "images/000005.png"}
    first, second = sequence.labels.frames[0], sequence.labels.frames[5]
    assert not sequence.has_ids
    assert first.track_ids.tolist() == [0, 1, 2]
    assert first.class_ids.tolist() == [0, 1, 0]
    assert first.ignore_boxes.tolist() == [[150, 0, 200, 15.5]]
    assert second.boxes.shape == (0, 4) and second.boxes.dtype == np.float32 and second.ignore_boxes.shape == (0, 4)


def test_a_sequence_with_ids(tmp_path, labelled):
    frame = dataclasses.replace(labelled.frames[0], boxes=(BoxLabel("car", 7, (1.0, 2.0, 3.0, 4.0)),))
    sequence = box_sequence(tmp_path, dataclasses.replace(labelled, frames=(frame,)), labelled.labels)
    assert sequence.has_ids
    assert sequence.labels.frames[0].track_ids.tolist() == [7]


def test_no_boxes(tmp_path, labelled):
    bare = dataclasses.replace(labelled, frames=(FrameLabels(0, "images/0.png", 0),))
    with pytest.raises(InputError, match="no frame has its boxes annotated"):
        box_sequence(tmp_path, bare, labelled.labels)
