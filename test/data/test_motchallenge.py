import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from wsperception.data.box_labels import BoxSequence
from wsperception.data.motchallenge import find_mot_folders, read_mot_sequence
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))


def sequence(folder: Path, rows: str, images: int = 3) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "img1").mkdir()
    (folder / "gt" / "gt.txt").write_text(rows)
    for number in range(1, images + 1):
        (folder / "img1" / f"{number:06d}.jpg").touch()
    return folder


def read(folder: Path) -> BoxSequence:
    return read_mot_sequence(folder, LABELS)


def test_frames_and_pixels_count_from_zero(tmp_path: Path) -> None:
    # The pixel in the first column and row, 1 wide and 2 high, is 1,1,1,2 there, and x0 0, y0 0, x1 1, y1 2 here.
    found = read(sequence(tmp_path / "MOT16-02", "1,7,1,1,1,2,1,1,1.0\n3,7,11.5,21,30,40,1,1,0.25\n"))
    assert found.name == "MOT16-02"
    assert found.has_ids
    assert list(found.images) == [0, 1, 2]
    assert found.images[2].name == "000003.jpg"
    assert found.labels.frames[0].boxes.tolist() == [[0, 0, 1, 2]]
    assert found.labels.frames[2].boxes.tolist() == [[10.5, 20, 40.5, 60]]
    assert found.labels.frames[2].track_ids.tolist() == [7]
    assert 1 not in found.labels.frames


def test_classes_of_mot16_to_mot20(tmp_path: Path) -> None:
    # Car: the flag is 0 although it was annotated as any other. An unconsidered pedestrian is ignored.
    kinds = [(1, 1), (1, 0), (3, 0), (2, 0), (7, 0), (8, 0), (12, 0), (13, 0), (9, 0), (10, 0), (11, 0), (4, 0)]
    rows = "".join(f"1,{row + 1},{10 * row + 1},1,5,5,{flag},{kind},1\n" for row, (kind, flag) in enumerate(kinds))
    found = read(sequence(tmp_path / "a", rows)).labels
    frame = found.frames[0]
    assert frame.class_ids.tolist() == [1, 0]
    assert frame.track_ids.tolist() == [1, 3]
    assert frame.ignore_boxes[:, 0].tolist() == [10, 30, 40, 50, 60, 70, 110]
    assert found.dropped == {"occluder": 3}


def test_in_mot15_the_last_columns_are_world_coordinates(tmp_path: Path) -> None:
    rows = "1, 1, 88, 99, 61.08, 218.5, 1, 4.4852, 5.5016, 0\n1,2,8,9,6,2,0,-1,-1,-1\n2,1,8,9,6,2,1\n"
    found = read(sequence(tmp_path / "a", rows)).labels.frames
    assert found[0].class_ids.tolist() == [1]
    assert found[0].ignore_boxes.tolist() == [[7, 8, 13, 10]]
    assert found[1].class_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,2,3,4,5", "expected 'frame, id, x, y, width, height, ...', got '1,2,3,4,5'"),
        ("1,2,3,4,-5,6,1,1,1", "expected a width and height >= 0, got -5 and 6"),
        ("1,2,x,4,5,6,1,1,1", "x: expected a number, got 'x'"),
        ("1,2,3,4,5,nan,1,1,1", "height: expected a number, got 'nan'"),
        ("1.5,2,3,4,5,6,1,1,1", "frame: expected a whole number, got '1.5'"),
        ("0,2,3,4,5,6,1,1,1", "expected frame and id >= 1, got 0 and 2"),
        ("1,-1,3,4,5,6,1,1,1", "expected frame and id >= 1, got 1 and -1"),
        ("1,2,3,4,5,6,1,14,1", "class 14 is unknown; expected one of 1 (pedestrian), 2 (person on vehicle)"),
        ("1,9,3,4,5,6,1,1,1", "pedestrian 9 is there twice in one frame"),
        ("1 2001 2 375 1242 abc", "a mask of MOTS, where 'frame, id, x, y, width, height, ...' was expected"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, row: str, complaint: str) -> None:
    folder = sequence(tmp_path / "a", f"1,9,1,1,2,2,1,1,1\n\n{row}\n")
    with pytest.raises(InputError) as caught:
        read(folder)
    assert str(caught.value).startswith(f"{folder}/gt/gt.txt:3: ")
    assert complaint in str(caught.value)


def test_boxes_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    found = read(sequence(tmp_path / "a", "1,1,5,5,0,4,1,1,1\n1,2,5,5,3,4,1,1,1\n"))
    assert found.labels.dropped == {"box without area": 1}
    assert found.labels.frames[0].track_ids.tolist() == [2]


def test_sequence_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = sequence(tmp_path / "a", "")
    (folder / "img1").rename(folder / "frames")
    info = folder / "seqinfo.ini"
    info.write_text("[Sequence]\nname=a\nimDir=frames\nseqLength=3\nimExt=.jpg\n")
    assert list(read(folder).images) == [0, 1, 2]
    assert not caplog.records
    info.write_text("[Sequence]\nimDir=frames\nseqLength=5\n")
    with caplog.at_level(logging.WARNING):
        read(folder)
    assert "seqinfo.ini says 5 frames, found 3 images" in caplog.text
    info.write_text("[Sequence]\nimDir=gone\n")
    with pytest.raises(InputError, match="gone: no such folder; expected the images of the sequence"):
        read(folder)
    for broken in ("name=a\n", "[Sequence]\nimDir=frames\nseqLength=many\n"):
        info.write_text(broken)
        with pytest.raises(InputError, match=r"seqinfo\.ini: expected a section \[Sequence\]"):
            read(folder)


def test_images_count_from_one(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "a", "")
    (folder / "img1" / "000000.jpg").touch()
    with pytest.raises(InputError, match=r"000000\.jpg: expected images numbered from 1"):
        read(folder)


def test_where_sequences_lie(tmp_path: Path) -> None:
    assert find_mot_folders(tmp_path) == []
    names = ("MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-04-SDP", "other-A")
    folders = [sequence(tmp_path / "train" / name, "") for name in names]
    one, _, three, four = folders
    assert find_mot_folders(tmp_path) == [one, three, four]
    assert find_mot_folders(tmp_path / "train") == [one, three, four]
    assert find_mot_folders(one) == [one]


def test_real_labels(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    # Counted with wc: 359 boxes in 71 frames and 1,156 in 179, all of pedestrians.
    root = shared_data("mot15_tud") / "train"
    for name, length, boxes in (("TUD-Campus", 71, 359), ("TUD-Stadtmitte", 179, 1156)):
        folder = tmp_path / name
        (folder / "img1").mkdir(parents=True)
        (folder / "gt").symlink_to(root / name / "gt")
        (folder / "seqinfo.ini").symlink_to(root / name / "seqinfo.ini")
        for number in range(1, length + 1):
            (folder / "img1" / f"{number:06d}.jpg").touch()
        found = read(folder)
        assert sum(len(frame.boxes) for frame in found.labels.frames.values()) == boxes
        assert max(found.labels.frames) == length - 1
        assert found.labels.dropped == {}
