from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsperception import rle
from wsperception.data.labelled_frames import (
    IGNORE_ROW,
    FrameMasks,
    LabelledFrame,
    TrackKeys,
    component_boxes,
    mask_box,
    read_labelled_frames,
)
from wsperception.errors import InputError
from wsperception.geometry import box_areas, box_iou
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
SIZE = (6, 9)


def picture(*values: tuple[int, int, int, int, int]) -> np.ndarray:
    """(6, 9) uint16 with rectangles (value, x0, y0, x1, y1)."""
    image = np.zeros(SIZE, np.uint16)
    for value, x0, y0, x1, y1 in values:
        image[y0:y1, x0:x1] = value
    return image


def line(frame: int, picture_of_frame: np.ndarray, value: int) -> str:
    counts = rle.encode(picture_of_frame == value).decode()
    return f"{frame} {value} {value // 1000} {SIZE[0]} {SIZE[1]} {counts}\n"


FIRST = picture((1003, 1, 2, 4, 6), (2001, 5, 0, 6, 4), (10000, 7, 0, 9, 2), (10000, 7, 4, 8, 6))
SECOND = picture((1003, 2, 2, 5, 6))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences of two frames; the second frame of "0001" has nothing annotated."""
    for name in ("0000", "0001"):
        (tmp_path / "image_02" / name).mkdir(parents=True)
        for number in (0, 1):
            cv2.imwrite(str(tmp_path / "image_02" / name / f"{number:06d}.png"), np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / "instances_txt").mkdir()
    first = "".join(line(0, FIRST, value) for value in (1003, 2001, 10000))
    (tmp_path / "instances_txt" / "0000.txt").write_text(first + line(1, SECOND, 1003))
    (tmp_path / "instances_txt" / "0001.txt").write_text(line(0, SECOND, 1003))
    return tmp_path


def read(root: Path, supervision: str) -> list[LabelledFrame]:
    return read_labelled_frames((root,), "all", LABELS, supervision)


def masks_of(frame: LabelledFrame) -> FrameMasks:
    assert frame.masks is not None
    return frame.masks


def test_full_supervision_by_hand(root: Path) -> None:
    frames = read(root, "full")
    assert [(frame.sequence, frame.number) for frame in frames] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    first = frames[0]
    assert first.boxes.tolist() == [[1, 2, 4, 6], [5, 0, 6, 4]]
    assert first.class_ids.tolist() == [0, 1]
    assert sorted(first.ignore_boxes.tolist()) == [[7, 0, 9, 2], [7, 4, 8, 6]]
    expected = picture((1, 1, 2, 4, 6), (2, 5, 0, 6, 4), (IGNORE_ROW, 7, 0, 9, 2), (IGNORE_ROW, 7, 4, 8, 6))
    np.testing.assert_array_equal(masks_of(first).label_map(), expected)
    assert frames[3].boxes.shape == (0, 4)
    assert frames[3].masks is None


def test_a_track_keeps_its_key_in_its_sequence_only(root: Path) -> None:
    frames = read(root, "full")
    car, pedestrian = frames[0].track_keys.tolist()
    assert frames[1].track_keys.tolist() == [car]
    assert len({car, pedestrian, *frames[2].track_keys.tolist()}) == 3


def test_roots_do_not_share_keys(root: Path) -> None:
    frames = read_labelled_frames((root, root), "0000", LABELS, "full")
    assert [frame.sequence for frame in frames] == [0, 0, 1, 1]
    assert not set(frames[0].track_keys) & set(frames[2].track_keys)


def test_pictures_say_the_same_as_text(root: Path) -> None:
    text = read(root, "full")
    for path in (root / "instances_txt").iterdir():
        path.unlink()
    for name, frames in (("0000", (FIRST, SECOND)), ("0001", (SECOND, picture()))):
        (root / "instances" / name).mkdir(parents=True)
        for number, image in enumerate(frames):
            cv2.imwrite(str(root / "instances" / name / f"{number:06d}.png"), image)
    (root / "instances_txt").rmdir()
    pictures = read(root, "full")
    for ours, theirs in zip(pictures, text, strict=True):
        for name in ("boxes", "class_ids", "track_keys", "ignore_boxes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(masks_of(pictures[0]).label_map(), masks_of(text[0]).label_map())


def test_weak_supervision_opens_no_file_of_masks(root: Path) -> None:
    (root / "label_02").mkdir()
    for name in ("0000", "0001"):
        (root / "label_02" / f"{name}.txt").write_text("1 7 Car 0 0 -1 1 2 4 5.5 1 1 1 1 1 1 1\n")
        (root / "instances_txt" / f"{name}.txt").write_text("not to be read")
    frames = read(root, "weak")
    assert [frame.boxes.tolist() for frame in frames] == [[], [[1, 2, 4, 5.5]]] * 2
    assert all(frame.masks is None for frame in frames)
    with pytest.raises(InputError, match=r"0000\.txt:1: expected 6 fields"):
        read(root, "full")


def test_weak_boxes_of_masks_are_those_of_full_supervision(root: Path) -> None:
    for weak, full in zip(read(root, "weak"), read(root, "full"), strict=True):
        np.testing.assert_array_equal(weak.boxes, full.boxes)
        assert weak.masks is None


def test_faults(root: Path) -> None:
    path = root / "instances_txt" / "0001.txt"
    path.write_text(line(0, SECOND, 1003) * 2)
    with pytest.raises(InputError, match=r"frame 0: object 1003 is there twice"):
        read(root, "full")
    path.write_text(line(0, SECOND, 1004))
    with pytest.raises(InputError, match=r"frame 0: object 1004: expected a mask with at least one pixel"):
        read(root, "full")
    path.write_text(line(0, picture((3001, 0, 0, 2, 2)), 3001))
    with pytest.raises(InputError, match=r"frame 0: class 3 is unknown; expected 1 \(car\), 2 \(pedestrian\) or 10"):
        read(root, "full")
    path.unlink()
    with pytest.raises(InputError, match=r"sequence 0001: expected masks in instances_txt/ or instances/ for full"):
        read(root, "full")
    with pytest.raises(InputError, match=r"sequence 0001: expected label_02 or masks for weak"):
        read(root, "weak")


def test_a_class_that_the_model_does_not_know_is_ignored(root: Path) -> None:
    frame = read_labelled_frames((root,), "0000", LabelSpace(("car",), (True,)), "full")[0]
    assert frame.boxes.tolist() == [[1, 2, 4, 6]]
    assert [5, 0, 6, 4] in frame.ignore_boxes.tolist()
    assert masks_of(frame).label_map()[0, 5] == IGNORE_ROW


def test_an_object_lies_on_an_ignore_region() -> None:
    whole, part = np.ones((2, 3), bool), np.array([[0, 1, 0], [0, 0, 0]], bool)
    rows = FrameMasks((2, 3), (rle.encode(part),), (rle.encode(whole),)).label_map()
    assert rows.tolist() == [[IGNORE_ROW, 1, IGNORE_ROW], [IGNORE_ROW] * 3]


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_box_of_run_lengths_is_the_tight_box(mask: np.ndarray) -> None:
    box = mask_box(rle.encode(mask), mask.shape[0]).tolist()
    if not mask.any():
        assert box == [0, 0, 0, 0]
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert box == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_box_of_a_run_over_two_columns() -> None:
    # Column 1 rows 2-3 and column 2 row 0 are one run, of 4 rows: the box must span all rows.
    mask = np.zeros((4, 5), bool)
    mask[2:, 1] = mask[0, 2] = True
    assert mask_box(rle.encode(mask), 4).tolist() == [1, 0, 3, 4]


def test_box_of_a_run_without_length() -> None:
    # Runs 2, 0, 3, 1: columns of 3, so that the only pixel is row 2 of column 1. (The fourth is written as 1 - 0.)
    assert rle.decode(b"2031", (3, 2)).tolist() == [[False, False], [False, False], [False, True]]
    assert mask_box(b"2031", 3).tolist() == [1, 2, 2, 3]


def test_parts_of_a_region() -> None:
    mask = picture((1, 1, 1, 3, 3), (1, 3, 3, 4, 4), (1, 6, 0, 9, 1)) == 1  # the first two touch at a corner
    assert sorted(component_boxes(rle.encode(mask), SIZE).tolist()) == [[1, 1, 4, 4], [6, 0, 9, 1]]
    assert component_boxes(rle.encode(np.zeros(SIZE, bool)), SIZE).shape == (0, 4)


def test_track_keys_count_up() -> None:
    keys = TrackKeys()
    assert [keys.key(0, 0, 5), keys.key(0, 1, 5), keys.key(1, 0, 5), keys.key(0, 0, 5)] == [0, 1, 2, 0]
    assert len(keys) == 3


def test_real_masks_lie_in_real_boxes(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    # KITTI MOTS took its ids from KITTI tracking: 1000 + id for cars. So the two kinds of boxes must agree.
    for folder, part in (("kitti_mots_gt", "instances_txt"), ("kitti_tracking_labels", "label_02")):
        (tmp_path / part).symlink_to(shared_data(folder) / part)
    (tmp_path / "image_02").symlink_to(shared_data("kitti_mini") / "training/image_02")
    full, weak = read(tmp_path, "full"), read(tmp_path, "weak")
    assert [frame.number for frame in full] == [10, 15, 20]
    for ours, theirs in zip(full, weak, strict=True):
        # Boxes of KITTI tracking go on behind what hides an object, so only the nearest cars are alike.
        overlap = box_iou(ours.boxes, theirs.boxes)
        near = np.argsort(box_areas(ours.boxes))[-2:]
        assert (overlap[near].max(axis=1) > 0.7).all()
        np.testing.assert_array_equal(ours.class_ids[near], theirs.class_ids[overlap[near].argmax(axis=1)])
