"""CVAT and LabelMe: round trips are equal, and files as those tools write them are understood."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import pytest

from wsperception.data.box_labels import IGNORED_NAMES
from wsperception.data.cvat import read_cvat_video
from wsperception.data.cvat_labels import cvat_images_text, cvat_video_text, read_cvat
from wsperception.data.label_file import BoxLabel, FrameLabels, LabelFile, PointLabel
from wsperception.data.label_import import WRITTEN_IGNORE, ImportedFrame, clipped, with_imported
from wsperception.data.labelme import labelme_texts, read_labelme
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))


def bare(file: LabelFile) -> LabelFile:
    """The same frames without labels."""
    frames = tuple(FrameLabels(frame.number, frame.image, frame.stamp_ns) for frame in file.frames)
    return dataclasses.replace(file, frames=frames)


def labels_of(file: LabelFile) -> list:
    """What was annotated, without times and revisions."""
    return [(frame.number, frame.tags, frame.boxes, frame.points, frame.ignore) for frame in file.frames]


def test_cvat_for_images_round_trip(tmp_path, labelled):
    path = tmp_path / "annotations.xml"
    path.write_text(cvat_images_text(labelled))
    assert labels_of(with_imported(bare(labelled), read_cvat(path), "x", False)) == labels_of(labelled)


def test_labelme_round_trip(tmp_path, labelled):
    for name, text in labelme_texts(labelled, "..").items():
        (tmp_path / name).write_text(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.json", "000005.json"]
    assert labels_of(with_imported(bare(labelled), read_labelme(tmp_path, LABELS), "x", False)) == labels_of(labelled)


def test_each_frame_keeps_what_was_annotated_in_it(tmp_path):
    frames = (
        FrameLabels(0, "images/0.png", 0, boxes=(BoxLabel("car", 1, (1.0, 2.0, 3.0, 4.0)),), tags=("car",)),
        FrameLabels(1, "images/1.png", 0, points=()),
        FrameLabels(2, "images/2.png", 0, points=(PointLabel("car", None, (1.0, 2.0)),), ignore=()),
    )
    file = LabelFile("0007", "x", 1, (120, 200), LABELS, frames)
    (tmp_path / "annotations.xml").write_text(cvat_images_text(file))
    for name, text in labelme_texts(file, "..").items():
        (tmp_path / name).write_text(text)
    for imported in (read_cvat(tmp_path / "annotations.xml"), read_labelme(tmp_path, LABELS)):
        assert labels_of(with_imported(bare(file), imported, "x", False)) == labels_of(file)


def test_cvat_for_video_round_trip(tmp_path):
    def boxes(*places: float) -> tuple[BoxLabel, ...]:
        return tuple(BoxLabel("car", 7, (x, 10.0, x + 20.0, 40.0)) for x in places)

    frames = (
        FrameLabels(0, "images/0.png", 0, boxes=boxes(10.0), points=(PointLabel("car", 7, (15.0, 20.5)),)),
        FrameLabels(5, "images/5.png", 0, ignore=((0.0, 0.0, 5.0, 5.0),)),
        FrameLabels(10, "images/10.png", 0, boxes=(*boxes(30.0), BoxLabel("pedestrian", 7, (0.0, 0.0, 9.0, 9.5)))),
    )
    file = LabelFile("0007", "x", 5, (120, 200), LABELS, frames)
    path = tmp_path / "annotations.xml"
    path.write_text(cvat_video_text(file))
    found = labels_of(with_imported(bare(file), read_cvat(path), "x", False))
    # Kinds that this format cannot leave open are empty in the frames that it names.
    assert found == [
        (0, None, frames[0].boxes, frames[0].points, ()),
        (5, None, (), (), frames[1].ignore),
        (10, None, frames[2].boxes, (), ()),
    ]
    tracks = ElementTree.parse(path).getroot().findall("track")
    assert [(track.get("label"), track.get("id")) for track in tracks] == [
        ("car", "0"), ("car", "1"), ("DontCare", "2"), ("pedestrian", "3"),
    ]  # fmt: skip
    spans = [(shape.get("frame"), shape.get("outside")) for shape in tracks[0]]
    assert spans == [("0", "0"), ("1", "1"), ("2", "0")]  # CVAT would carry it on over frame 1


def test_our_cvat_for_video_is_what_training_reads(tmp_path, labelled):
    (tmp_path / "images").mkdir()
    for position in range(3):
        (tmp_path / "images" / f"frame_{position:06d}.png").touch()
    frame = dataclasses.replace(labelled.frames[0], points=None)
    (tmp_path / "annotations.xml").write_text(cvat_video_text(dataclasses.replace(labelled, frames=(frame,))))
    found = read_cvat_video(tmp_path, LABELS).labels.frames[0]
    assert found.boxes.tolist() == [[10, 20.25, 60.5, 80], [0, 0, 20, 50]]  # the third has no id
    assert found.class_ids.tolist() == [0, 1]
    assert found.ignore_boxes.tolist() == [[150, 0, 200, 15.5]]


def test_our_ignore_label_is_one_that_is_read():
    assert WRITTEN_IGNORE in IGNORED_NAMES


def test_cvat_as_cvat_writes_it(tmp_path, labelled):
    path = tmp_path / "annotations.xml"
    path.write_text(
        """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>4</id></task></meta>
  <image id="0" name="street/000005.jpg" width="200" height="120">
    <tag label="car" source="manual"></tag>
    <box label="car" source="manual" occluded="0" xtl="-3.50" ytl="10.20" xbr="50.25" ybr="60.00" z_order="0">
      <attribute name="parked">true</attribute></box>
    <polygon label="car" source="manual" occluded="0" points="70.00,20.00;90.50,40.00;60.00,30.00" z_order="0">
      <attribute name="track_id">12</attribute></polygon>
    <points label="pedestrian" source="manual" occluded="0" points="5.00,6.00;7.00,8.00" z_order="0"></points>
  </image>
  <image id="1" name="street/000010.jpg" width="200" height="120"></image>
</annotations>"""
    )
    file = with_imported(bare(labelled), read_cvat(path), str(path), False)
    assert file.frames[0].annotated == ()  # not in the file
    frame = file.frames[1]
    assert frame.tags == ("car",)
    assert frame.boxes == (BoxLabel("car", None, (0.0, 10.2, 50.25, 60.0)), BoxLabel("car", 12, (60, 20, 90.5, 40)))
    assert frame.points == (PointLabel("pedestrian", None, (5.0, 6.0)),)
    assert frame.ignore is None  # nowhere in the file
    assert file.frames[2].boxes == () and file.frames[2].tags == ()


def test_cvat_tracks_as_cvat_writes_them(tmp_path, labelled):
    path = tmp_path / "annotations.xml"
    path.write_text(
        """<annotations><track id="9" label="car" source="manual">
  <box frame="1" keyframe="1" outside="0" occluded="0" xtl="1" ytl="2" xbr="30" ybr="40" z_order="0"/>
  <box frame="2" keyframe="1" outside="1" occluded="0" xtl="1" ytl="2" xbr="30" ybr="40" z_order="0"/>
</track></annotations>"""
    )
    file = with_imported(bare(labelled), read_cvat(path), str(path), False)
    assert [frame.boxes for frame in file.frames] == [None, (BoxLabel("car", 9, (1.0, 2.0, 30.0, 40.0)),), None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not an XML file"),
        ("<a/>", "expected <annotations>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "a document type"),
        ('<annotations><image name="a"><box label="car" xtl="x"/></image></annotations>', "xtl: expected a number"),
        ('<annotations><image name="a"><box xtl="1"/></image></annotations>', "missing attribute 'label'"),
        ('<annotations><image name="a"><mask label="car"/></image></annotations>', "<mask>: expected box, points"),
        ('<annotations><image name="a"><points label="car" points="1"/></image></annotations>', "expected a number"),
        ('<annotations><track id="1"><box outside="0"/></track></annotations>', "frame: expected a whole number"),
        ('<annotations><image name="a" annotated_kinds="naps"/></annotations>', "expected some of tags, boxes"),
    ],
)
def test_what_is_no_cvat(tmp_path, text, expected):
    path = tmp_path / "annotations.xml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_cvat(path)
    assert str(caught.value).startswith(str(path)) and expected in str(caught.value)


def test_labelme_as_labelme_writes_it(tmp_path, labelled):
    shapes = [
        {"label": "car", "points": [[60, 70], [10, 20]], "group_id": 4, "shape_type": "rectangle", "flags": {}},
        {"label": "car", "points": [[80, 30], [90, 40], [85, 50]], "group_id": 4, "shape_type": "polygon", "flags": {}},
        {"label": "car", "points": [[5, 6]], "group_id": None, "shape_type": "point", "flags": {}},
        {"label": "__ignore__", "points": [[100, 100], [110, 100], [100, 119]], "group_id": None, "flags": {}},
        {"label": "pedestrian", "points": [[50, 50], [53, 54]], "group_id": None, "shape_type": "circle"},
    ]
    flags = {"car": True, "pedestrian": False, "blurred": True}
    values = {"version": "4.0.0", "flags": flags, "shapes": shapes, "imagePath": "..\\img\\0010.jpg", "imageData": None}
    (tmp_path / "0010.json").write_text(json.dumps(values))
    frame = with_imported(bare(labelled), read_labelme(tmp_path, LABELS), "x", False).frames[2]
    assert frame.tags == ("car",)
    assert frame.boxes == (BoxLabel("car", 4, (10, 20, 90, 70)), BoxLabel("pedestrian", None, (45, 45, 55, 55)))
    assert frame.points == (PointLabel("car", None, (5.0, 6.0)),)
    assert frame.ignore == ((100.0, 100.0, 110.0, 119.0),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not a JSON file"),
        ("[]", "shapes: expected a list"),
        ('{"shapes": [3]}', "shapes[0]: expected keys and values"),
        ('{"shapes": [{"points": []}]}', "shapes[0]: missing key 'label'"),
        ('{"shapes": [{"label": "car", "points": []}]}', "shapes[0].points: expected at least one"),
        ('{"shapes": [{"label": "car", "points": [[1]]}]}', "shapes[0].points[0]: expected 2 numbers"),
        ('{"shapes": [{"label": "car", "points": [[1, 2]], "shape_type": "cube"}]}', "shape_type: expected point"),
        ('{"shapes": [], "flags": []}', ""),
        ('{"shapes": [], "flags": [1]}', "flags: expected keys and values"),
    ],
)
def test_what_is_no_labelme(tmp_path, content, expected):
    (tmp_path / "a.json").write_text(content)
    if not expected:
        assert read_labelme(tmp_path, LABELS) == [ImportedFrame("a.json", -1)]
        return
    with pytest.raises(InputError) as caught:
        read_labelme(tmp_path, LABELS)
    assert str(caught.value).startswith(f"{tmp_path}/a.json: ") and expected in str(caught.value)


def test_no_labelme_file(tmp_path):
    with pytest.raises(InputError, match="expected LabelMe files"):
        read_labelme(tmp_path, LABELS)


def test_real_labelme_files(shared_data, tmp_path):
    folder = shared_data("labelme_voc") / "instance_segmentation" / "data_annotated"
    names = ("person", "bottle", "chair", "sofa", "bus", "car")
    found = read_labelme(folder, LabelSpace(names, (True,) * 6))
    assert [entry.name for entry in found] == ["2011_000003.jpg", "2011_000006.jpg", "2011_000025.jpg"]
    first = found[0]
    # person; person of two parts in group 0, of which the second reaches x = 366.81; bottle
    assert [(label.class_name, label.track_id) for label in first.boxes] == [
        ("person", None), ("person", 0), ("bottle", None),
    ]  # fmt: skip
    assert first.boxes[1].box == (365.81, 87.18, 499.81, 338.0 - 0.82)
    assert len(first.ignore) == 1


def test_what_is_labelled_is_not_replaced_unasked(labelled):
    imported = [ImportedFrame("000000.png", 0, boxes=(BoxLabel("car", 1, (0.0, 0.0, 9.0, 9.0)),))]
    with pytest.raises(InputError, match=r"x: 000000\.png: frame 0 has boxes already; --overwrite replaces them"):
        with_imported(labelled, imported, "x", False)
    first = with_imported(labelled, imported, "x", True).frames[0]
    assert first.boxes == imported[0].boxes
    assert first.points == labelled.frames[0].points  # a kind that the import does not know
    assert first.revision == labelled.frames[0].revision + 1
    assert first.seconds == labelled.frames[0].seconds


def test_images_and_classes_that_are_not_ours(labelled):
    with pytest.raises(InputError, match=r"image 'kitchen\.png' is none of the 3 frames"):
        with_imported(labelled, [ImportedFrame("kitchen.png", 0)], "x", False)
    with pytest.raises(InputError, match="frame 3: expected below 3"):
        with_imported(labelled, [ImportedFrame("", 3)], "x", False)
    tram = ImportedFrame("10.png", 0, boxes=(BoxLabel("tram", None, (0.0, 0.0, 9.0, 9.0)),))
    with pytest.raises(InputError, match=r"x: 10.png\.boxes\[0\]\.class: unknown class 'tram'"):
        with_imported(labelled, [tram], "x", False)


def test_clipped():
    assert clipped((-5.0, 10.0, 300.0, 90.0), (60, 200)) == (0.0, 10.0, 200.0, 60.0)
    assert clipped((-5.0, 10.0, 0.0, 90.0), (60, 200)) is None
