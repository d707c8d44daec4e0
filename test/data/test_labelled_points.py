"""Points from clicks, masks and boxes, as training with `points` supervision reads them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.data.label_file import BoxLabel, FrameLabels, LabelFile, PointLabel, write_label_file
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.labelled_points import mask_middle
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
SIZE = (7, 12)


def painted(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def line(frame: int, number: int, class_id: int, mask: np.ndarray) -> str:
    return f"{frame} {number} {class_id} {SIZE[0]} {SIZE[1]} {rle.encode(mask).decode()}\n"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Three frames in the layouts of KITTI MOTS and KITTI tracking, whose boxes are not those of the masks."""
    root = tmp_path / "drive"
    (root / "image_02/0000").mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(root / f"image_02/0000/{number:06d}.png"), np.zeros((*SIZE, 3), np.uint8))
    (root / "instances_txt").mkdir()
    masks = line(0, 2001, 2, painted(8, 0, 11, 5)) + line(0, 1001, 1, painted(0, 1, 5, 6))
    masks += line(0, 10000, 10, painted(6, 2, 7, 4)) + line(2, 1001, 1, painted(1, 1, 4, 4))
    (root / "instances_txt/0000.txt").write_text(masks)
    (root / "label_02").mkdir()
    rows = ["0 1 Car 0 0 0 0 1 6 6", "0 -1 DontCare 0 0 0 9 0 12 2"]
    (root / "label_02/0000.txt").write_text("".join(f"{row} 0 0 0 0 0 0 0\n" for row in rows))
    return root


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """A folder as `wsperception label` writes it: frame 4 clicked, frame 6 clicked and empty, frame 8 boxes only."""
    folder = tmp_path / "clicks"
    (folder / "images").mkdir(parents=True)
    frames = []
    for number, points, boxes in (
        (4, (PointLabel("pedestrian", 3, (2.5, 6.9)), PointLabel("car", None, (11.0, 0.5))), None),
        (6, (), None),
        (8, None, (BoxLabel("car", 1, (0.0, 0.0, 3.0, 3.0)),)),
    ):
        name = f"images/{number:06d}.png"
        cv2.imwrite(str(folder / name), np.zeros((*SIZE, 3), np.uint8))
        ignore = ((6.0, 0.0, 8.0, 2.0),) if number == 4 else None
        frames.append(FrameLabels(number, name, 0, points=points, boxes=boxes, ignore=ignore))
    write_label_file(folder, LabelFile("yard", "camera", 2, SIZE, LABELS, tuple(frames)))
    return folder


def read(root: Path, points_from: str = "masks", labels: LabelSpace = LABELS) -> list[LabelledFrame]:
    return read_labelled_frames((root,), "all", labels, "points", points_from)


def test_the_middle_of_a_mask_by_hand() -> None:
    # A 3 x 3 block with a tail: the middle of the block, (3, 2), is 2 pixels from what is outside, all others 1.
    mask = painted(2, 1, 5, 4) | painted(5, 2, 10, 3)
    assert mask_middle(mask) == (3.5, 2.5)
    # At the border of the image the outside begins.
    assert mask_middle(painted(0, 0, 3, 3)) == (1.5, 1.5)
    # A pixel is its own middle; among equals the first counts.
    assert mask_middle(painted(9, 6, 10, 7)) == (9.5, 6.5)
    assert mask_middle(painted(4, 2, 8, 3)) == (4.5, 2.5)


def test_points_of_masks(drive: Path) -> None:
    first, second, third = read(drive)
    assert first.weak is not None and second.weak is not None and third.weak is not None
    # [8, 11) x [0, 5): the farthest pixels of a column of three are those of its middle, the second row first. The car
    # is 5 x 5 with its middle at (2, 3).
    assert first.weak.points.tolist() == [[9.5, 1.5], [2.5, 3.5]]
    assert first.weak.point_classes.tolist() == [1, 0]
    assert first.ignore_boxes.tolist() == [[6, 2, 7, 4]]
    assert first.objects == 2
    assert second.weak.points.shape == (0, 2) and second.objects == 0  # annotated, and empty
    assert third.weak.points.tolist() == [[2.5, 2.5]]


def test_points_of_boxes(drive: Path) -> None:
    first = read(drive, "boxes")[0]
    assert first.weak is not None
    assert first.weak.points.tolist() == [[3.0, 3.5]]
    assert first.weak.point_classes.tolist() == [0]
    assert first.ignore_boxes.tolist() == [[9, 0, 12, 2]]


def test_neither_boxes_nor_masks_stay_in_memory(drive: Path) -> None:
    for source in ("masks", "boxes"):
        for frame in read(drive, source):
            assert frame.masks is None
            assert len(frame.boxes) == len(frame.class_ids) == len(frame.track_keys) == 0


def test_without_masks_they_are_asked_for(drive: Path) -> None:
    shutil.rmtree(drive / "instances_txt")
    with pytest.raises(InputError, match=r"sequence 0000: expected masks .* for points supervision, found none"):
        read(drive)
    assert len(read(drive, "boxes")) == 3


def test_a_class_that_is_not_learnt_is_ignored(drive: Path) -> None:
    first = read(drive, labels=LabelSpace(("car",), (True,)))[0]
    assert first.weak is not None
    assert first.weak.points.tolist() == [[2.5, 3.5]]
    assert sorted(first.ignore_boxes.tolist()) == [[6, 2, 7, 4], [8, 0, 11, 5]]


def test_clicks(clicks: Path) -> None:
    first, second = read(clicks)
    assert first.path == clicks / "images/000004.png"
    assert (first.number, second.number) == (4, 6)
    assert first.weak is not None and second.weak is not None
    np.testing.assert_allclose(first.weak.points, [[2.5, 6.9], [11.0, 0.5]], rtol=1e-6)
    assert first.weak.point_classes.tolist() == [1, 0]
    assert first.ignore_boxes.tolist() == [[6, 0, 8, 2]]
    assert second.objects == 0 and second.ignore_boxes.shape == (0, 4)


def test_several_folders_are_sequences_of_their_own(drive: Path, clicks: Path) -> None:
    frames = read_labelled_frames((drive, clicks), "all", LABELS, "points")
    assert [frame.sequence for frame in frames] == [0, 0, 0, 1, 1]
    assert [frame.sequence for frame in read_labelled_frames((drive, clicks), "0000", LABELS, "points")] == [0, 0, 0]


def test_faults_are_named(clicks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class 'pedestrian': unknown; expected one of car"):
        read(clicks, labels=LabelSpace(("car",), (True,)))
    folder = tmp_path / "boxes"
    shutil.copytree(clicks, folder)
    write_label_file(folder, LabelFile("yard", "camera", 2, SIZE, LABELS, (FrameLabels(8, "images/000008.png", 0),)))
    with pytest.raises(InputError, match="boxes: no frame has its points annotated"):
        read(folder)
    (tmp_path / "mot/a/gt").mkdir(parents=True)
    (tmp_path / "mot/a/gt/gt.txt").write_text("1,1,1,1,2,2,1,1,1\n")
    with pytest.raises(InputError, match=r"mot: MOTChallenge.*expected masks, or data.points_from=boxes"):
        read(tmp_path / "mot")
