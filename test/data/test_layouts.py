import logging
from pathlib import Path

import pytest

from wsperception.data.label_file import BoxLabel, FrameLabels, LabelFile, write_label_file
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.layouts import CVAT_VIDEO, DETECTION, KITTI, LABELLED, MOT, layout_of, read_box_sequences
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
VIDEO = """<annotations><track id="3" label="car">
<box frame="0" outside="0" xtl="1" ytl="2" xbr="4" ybr="8"/><box frame="1" outside="0" xtl="2" ytl="2" xbr="5" ybr="8"/>
</track></annotations>"""


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def mot_sequence(folder: Path, rows: str, images: int) -> None:
    write(folder / "gt/gt.txt", rows)
    for number in range(images):
        write(folder / f"img1/{number + 1:06d}.jpg")


def video(folder: Path) -> None:
    write(folder / "annotations.xml", VIDEO)
    for number in range(2):
        write(folder / f"images/frame_{number:06d}.png")


def objects(folder: Path) -> None:
    line = "car 0 0 -1 {} 2 30 40 -1 -1 -1 -1 -1 -1 -1\n"
    for name in ("a", "b"):
        write(folder / f"default/image_2/{name}.png")
        write(folder / f"default/label_2/{name}.txt", line.format(1) + line.format(2))


def weak(root: Path, split: str = "all") -> list[LabelledFrame]:
    return read_labelled_frames((root,), split, LABELS, "weak")


def test_layouts_are_told_by_their_content(tmp_path: Path) -> None:
    write(tmp_path / "kitti/training/image_02/0000/000000.png")
    mot_sequence(tmp_path / "mot/train/MOT16-02", "", 1)
    video(tmp_path / "cvat")
    video(tmp_path / "tasks/one")
    objects(tmp_path / "objects")
    names = {"kitti": KITTI, "mot": MOT, "cvat": CVAT_VIDEO, "tasks": CVAT_VIDEO, "objects": DETECTION}
    for name, layout in names.items():
        assert layout_of(tmp_path / name) == layout
    assert [sequence.name for sequence in read_box_sequences(tmp_path / "tasks", LABELS)] == ["one"]


def test_frames_labelled_here_are_read(tmp_path: Path) -> None:
    boxes = (BoxLabel("pedestrian", 4, (1, 2, 5, 9)),)
    frames = tuple(
        FrameLabels(number, f"images/{number:06d}.png", number, boxes=found)
        for number, found in ((0, boxes), (5, ()), (10, None))
    )
    write_label_file(tmp_path, LabelFile("street", "a bag", 5, (20, 30), LABELS, frames))
    for frame in frames:
        write(tmp_path / frame.image)
    assert layout_of(tmp_path) == LABELLED
    read = weak(tmp_path)
    assert [frame.number for frame in read] == [0, 5]  # the third was never looked at for boxes
    assert [frame.boxes.tolist() for frame in read] == [[[1, 2, 5, 9]], []]
    assert read[0].class_ids.tolist() == [1]


def test_what_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such folder; expected labelled images"):
        layout_of(tmp_path / "absent")
    with pytest.raises(InputError, match=r"\(KITTI objects\); found nothing$"):
        layout_of(tmp_path)
    write(tmp_path / "b.jpg")
    write(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"expected one of image_02/NAME/ .*; found a\.json, b\.jpg$"):
        layout_of(tmp_path)
    write(tmp_path / "export.ZIP")
    with pytest.raises(InputError, match=r"export\.ZIP: an archive; unpack it, or .*training/prepare\.py .* --out NEW"):
        layout_of(tmp_path / "export.ZIP")


def test_tracks_of_several_sequences_keep_apart(tmp_path: Path) -> None:
    mot_sequence(tmp_path / "A", "1,7,1,1,9,9,1,1,1\n2,7,2,1,9,9,1,1,1\n2,8,5,5,9,9,1,1,1\n", 2)
    mot_sequence(tmp_path / "B", "1,7,1,1,9,9,1,1,1\n", 1)
    frames = weak(tmp_path)
    assert [(frame.sequence, frame.number) for frame in frames] == [(0, 0), (0, 1), (1, 0)]
    assert [frame.track_keys.tolist() for frame in frames] == [[0], [0, 1], [2]]
    assert all(frame.masks is None for frame in frames)
    assert [frame.path.name for frame in weak(tmp_path, "B")] == ["000001.jpg"]
    with pytest.raises(InputError, match="split 'val': none of its sequences is there; found A, B"):
        weak(tmp_path, "val")


def test_roots_of_different_layouts_go_together(tmp_path: Path) -> None:
    video(tmp_path / "cvat")
    mot_sequence(tmp_path / "mot", "1,3,1,1,9,9,1,1,1\n", 1)
    frames = read_labelled_frames((tmp_path / "cvat", tmp_path / "mot"), "all", LABELS, "weak")
    assert [(frame.sequence, frame.number) for frame in frames] == [(0, 0), (0, 1), (1, 0)]
    assert [frame.track_keys.tolist() for frame in frames] == [[0], [0], [1]]


def test_without_ids_no_object_is_told_from_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Every image is a clip of its own, so that no two boxes of different images meet in a triplet.
    objects(tmp_path / "objects")
    video(tmp_path / "cvat")
    with caplog.at_level(logging.WARNING):
        frames = read_labelled_frames((tmp_path / "objects", tmp_path / "cvat"), "all", LABELS, "weak")
    assert [frame.sequence for frame in frames] == [0, 1, 2, 2]
    assert [frame.track_keys.tolist() for frame in frames] == [[0, 1], [2, 3], [4], [4]]
    assert "sequence default: boxes without ids; every image is a clip of its own" in caplog.text


def test_masks_are_wanted_where_there_are_boxes(tmp_path: Path) -> None:
    video(tmp_path)
    with pytest.raises(
        InputError, match=r"CVAT for video 1\.1, which holds boxes; expected masks for full supervision"
    ):
        read_labelled_frames((tmp_path,), "all", LABELS, "full")


def test_missing_images_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mot_sequence(tmp_path / "A", "1,7,1,1,9,9,1,1,1\n2,7,2,1,9,9,1,1,1\n", 1)
    with caplog.at_level(logging.WARNING):
        assert len(weak(tmp_path)) == 1
    assert "sequence A: 1 frames with boxes but no image, left out" in caplog.text
    (tmp_path / "A/img1/000001.jpg").unlink()
    with pytest.raises(InputError, match="sequence A: expected images, found none"):
        weak(tmp_path)
