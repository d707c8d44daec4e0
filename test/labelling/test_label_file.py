"""The weak-label file: what is written is read again, and what is wrong is named with its key."""

import dataclasses
import json
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsperception.data.label_file import (
    BoxLabel,
    FrameLabels,
    LabelFile,
    frame_from,
    frame_mapping,
    label_text,
    read_label_file,
    write_label_file,
)
from wsperception.errors import InputError
from wsperception.types import LabelSpace

SIZE, LABELS = (120, 200), LabelSpace(("car", "pedestrian"), (True, False))


def test_what_is_written_is_read(tmp_path, labelled):
    write_label_file(tmp_path, labelled)
    assert read_label_file(tmp_path) == labelled
    assert read_label_file(tmp_path / "labels.json") == labelled
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.json"]


def test_one_frame_is_one_line(labelled):
    lines = label_text(labelled).splitlines()
    assert lines[1] == ' "format": "wsperception weak labels",'
    assert lines[2] == ' "version": 1,'
    assert [json.loads(line.strip().rstrip(","))["number"] for line in lines[10:13]] == [0, 5, 10]


def test_not_annotated_and_empty_stay_apart(labelled):
    assert labelled.frames[0].annotated == ("tags", "boxes", "points", "ignore")
    assert labelled.frames[1].annotated == ("tags", "boxes", "points", "ignore")
    assert labelled.frames[2].annotated == ()
    assert frame_mapping(labelled.frames[1])["boxes"] == []
    assert frame_mapping(labelled.frames[2])["boxes"] is None


coordinates = st.integers(0, 11999).map(lambda value: value / 100)
ids = st.one_of(st.none(), st.integers(0, 2**31 - 1))


@st.composite
def box_labels(draw):
    x0, y0 = draw(coordinates), draw(coordinates)
    width, height = draw(st.integers(1, 1200)) / 100, draw(st.integers(1, 1200)) / 100
    box = tuple(round(value, 2) for value in (x0, y0, min(x0 + width, 200.0), min(y0 + height, 120.0)))
    return BoxLabel(draw(st.sampled_from(LABELS.names)), draw(ids), box)


@settings(deadline=None)  # a loaded machine is slow
@given(st.lists(box_labels(), max_size=6, unique_by=lambda box: (box.class_name, box.track_id, id(box))))
def test_boxes_survive_json(boxes):
    named = {(box.class_name, box.track_id): box for box in boxes if box.track_id is not None}
    frame = FrameLabels(3, "images/3.png", 9, boxes=(*named.values(), *(b for b in boxes if b.track_id is None)))
    assert frame_from(json.loads(json.dumps(frame_mapping(frame))), LABELS, SIZE, "f") == frame


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("number", -1, "frames[0].number: expected a whole number from 0"),
        ("number", True, "frames[0].number: expected a whole number from 0"),
        ("image", "images/../secret.png", "frames[0].image: expected a file in images/"),
        ("image", "/etc/passwd", "frames[0].image: expected a file in images/"),
        ("image", "images/a.html", "frames[0].image: expected a file in images/"),
        ("image", "images/.hidden.png", "frames[0].image: expected a file in images/"),
        ("image", "images/a\u0000.png", "frames[0].image: expected a file in images/"),
        ("image", 3, "frames[0].image: expected text"),
        ("tags", ["tram"], "frames[0].tags[0]: unknown class 'tram'; expected one of car, pedestrian"),
        ("tags", ["car", "car"], "frames[0].tags: expected each class once"),
        ("boxes", {}, "frames[0].boxes: expected a list, got dict"),
        ("boxes", [{"class": "car", "id": 1}], "frames[0].boxes[0]: missing key 'box'"),
        ("boxes", [{"class": "car", "id": 1, "box": [0, 0, 9, 9], "x": 1}], "boxes[0]: unknown key 'x'"),
        ("boxes", [{"class": [], "id": 1, "box": [0, 0, 9, 9]}], "boxes[0].class: unknown class []"),
        ("boxes", [{"class": "car", "id": -1, "box": [0, 0, 9, 9]}], "boxes[0].id: expected a whole number"),
        ("boxes", [{"class": "car", "id": 1.0, "box": [0, 0, 9, 9]}], "boxes[0].id: expected a whole number"),
        ("boxes", [{"class": "car", "id": 1, "box": [0, 0, 9]}], "boxes[0].box: expected 4 numbers"),
        ("boxes", [{"class": "car", "id": 1, "box": [0, 0, 9, True]}], "boxes[0].box: expected 4 numbers"),
        ("boxes", [{"class": "car", "id": 1, "box": [0, 0, 1e999, 9]}], "boxes[0].box: expected 4 numbers"),
        ("boxes", [{"class": "car", "id": 1, "box": [0, 0, 201, 9]}], "within 200 x 120 pixels"),
        ("boxes", [{"class": "car", "id": 1, "box": [9, 0, 9.001, 9]}], "within 200 x 120 pixels"),
        ("boxes", [{"class": "car", "id": 1, "box": [0, 0, 9, 9]}] * 2, "boxes: car 1 is there twice"),
        ("points", [{"class": "car", "id": 1, "point": [200, 9]}], "points[0].point: expected x y within"),
        ("points", [{"class": "car", "id": 1, "point": [2, 9]}] * 2, "points: car 1 is there twice"),
        ("ignore", [[0, 0, 300, 9]], "ignore[0]: expected x0 y0 x1 y1 within"),
        ("seconds", {"naps": 1}, "seconds: unknown key 'naps'"),
        ("seconds", {"boxes": float("nan")}, "seconds.boxes: expected seconds >= 0"),
        ("seconds", [], "seconds: expected keys and values"),
        ("revision", None, "revision: expected a whole number"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, labelled, key, value, expected):
    write_label_file(tmp_path, labelled)
    values = json.loads((tmp_path / "labels.json").read_text())
    values["frames"][0][key] = value
    (tmp_path / "labels.json").write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        read_label_file(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/labels.json: frames[0]")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "COCO"}, "format: expected 'wsperception weak labels'"),
        ({"version": 2}, "version: expected 1, got 2"),
        ({"classes": ["car"]}, "LabelSpace: expected one is_thing flag per name"),
        ({"classes": [1, 2]}, "classes[0]: expected text"),
        ({"is_thing": [1, 2]}, "is_thing[0]: expected true or false, got 1"),
        ({"image_size": [0, 5]}, "image_size: expected [height, width]"),
        ({"every": 0}, "every: expected 1 or more"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_wrong_head_is_named(tmp_path, labelled, change, expected):
    values = json.loads(label_text(labelled)) | change
    (tmp_path / "labels.json").write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        read_label_file(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/labels.json: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 200000, b"[1]", b'{"frames": []}'])
def test_damaged_files(tmp_path, content):
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.json: (not a JSON file|format: expected)"):
        read_label_file(tmp_path)
    assert (tmp_path / "labels.json").read_bytes() == content


def test_frames_in_order(tmp_path, labelled):
    write_label_file(tmp_path, dataclasses.replace(labelled, frames=labelled.frames[::-1]))
    with pytest.raises(InputError, match="frames: expected distinct numbers in rising order"):
        read_label_file(tmp_path)


def test_missing(tmp_path):
    with pytest.raises(InputError, match="no such file; expected labels written by 'wsperception label'"):
        read_label_file(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_earlier_file(tmp_path, labelled):
    write_label_file(tmp_path, labelled)
    many = LabelFile("a", "b", 1, SIZE, LABELS, tuple(FrameLabels(n, f"images/{n}.png", n) for n in range(500)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # a real refusal of the system; SIGXFSZ is ignored by Python
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(OSError, match="File too large"):
            write_label_file(tmp_path, many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_label_file(tmp_path) == labelled
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.json"]
