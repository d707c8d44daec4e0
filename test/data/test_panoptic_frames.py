"""Panoptic labels beside a training set: found by sequence and number, moved with the image."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.augmentation import Augmentation, moved_panoptic, no_augmentation
from wsperception.data.clip_sampler import ClipSampler
from wsperception.data.clips import ClipSettings
from wsperception.data.coco_panoptic_writer import PanopticWriter
from wsperception.data.frame_store import FrameStore, StoredFrame
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.panoptic_frames import PanopticFrames, frame_name, with_classes
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.preprocess import fit
from wsperception.types import VOID, LabelSpace

SPACE = LabelSpace(("car", "pedestrian", "road", "sky"), (True, True, False, False))


def labels_of(ids: list[list[int]], class_ids: list[int], crowd: tuple[int, ...] = ()) -> PanopticLabels:
    rows = np.arange(len(class_ids) + 1)
    classes = np.array([VOID, *class_ids], np.int32)
    return PanopticLabels(
        "hand", np.array(ids, np.uint16), classes, np.isin(rows, crowd), (rows > 0).astype(np.float32)
    )


def frame_of(path: Path) -> LabelledFrame:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((32, 64, 3), 90, np.uint8))
    nobody, none = np.zeros(0, np.int64), np.zeros((0, 4), np.float32)
    return LabelledFrame(path, 0, int(path.stem), none, nobody, nobody, none, None)


def write(folder: Path, sequence: str, labels: dict[int, PanopticLabels], space: LabelSpace = SPACE) -> None:
    with PanopticWriter(folder, sequence, space) as writer:
        for number, found in labels.items():
            writer.add_labels(number, found)


def test_other_classes_become_void():
    # Rows: sky, pedestrian, car; the wanted space has no pedestrian, and the sky first.
    labels = labels_of([[1, 2, 3], [3, 0, 1]], [3, 1, 0], crowd=(3,))
    found = with_classes(labels, SPACE, LabelSpace(("sky", "car"), (False, True)))
    assert found.class_ids.tolist() == [VOID, 0, 1]
    assert found.ids.tolist() == [[1, 0, 2], [2, 0, 1]]
    assert found.is_crowd.tolist() == [False, False, True]


def test_labels_move_with_the_image():
    # 4 x 2 pixels twice as large; mirrored, columns 3 2 1 0. Half a pixel off, and a neighbour would show.
    labels = labels_of([[1, 2, 2, 1], [1, 1, 2, 2]], [2, 0])
    stored = StoredFrame(np.zeros((4, 8, 3), np.uint8), None, fit((2, 4), (4, 8)))
    settings = ClipSettings(input_size=(32, 64))
    plain = moved_panoptic(labels, stored, no_augmentation(), settings)
    assert (plain.ids == np.kron(labels.ids, np.ones((16, 16), np.uint16))).all()
    mirrored = Augmentation(True, 1.0, (0.0, 0.0), no_augmentation().colour, 1.0)
    assert (moved_panoptic(labels, stored, mirrored, settings).ids == plain.ids[:, ::-1]).all()
    # At half the size in the lower right corner: outside its content all is void.
    small = moved_panoptic(labels, stored, replace(no_augmentation(), scale=0.5, shift=(1.0, 1.0)), settings)
    assert (small.ids[16:, 32:] == np.kron(labels.ids, np.ones((8, 8), np.uint16))).all()
    assert not small.ids[:16].any()
    assert not small.ids[:, :32].any()
    other = replace(stored, placing=fit((3, 4), (4, 8)))
    with pytest.raises(InputError, match="hand: expected labels of 4 x 3 px, got 4 x 2"):
        moved_panoptic(labels, other, no_augmentation(), settings)


def test_full_and_partial_labels_mix(tmp_path):
    roots = tmp_path / "one", tmp_path / "two"
    frames = [frame_of(root / "training/image_02/0003" / f"00000{number}.png") for root in roots for number in (0, 4)]
    car, road = labels_of([[1] * 64] * 32, [0]), labels_of([[0] * 60 + [1] * 4] * 32, [2])
    write(tmp_path / "full", "0003", {0: car, 4: car})
    write(tmp_path / "weak", "0003", {0: road, 4: road})
    folders = (tmp_path / "full", tmp_path / "weak")
    found = PanopticFrames(frames, roots, folders, SPACE)
    assert len(found) == 4
    assert [found(row).class_ids[1:].tolist() for row in range(4)] == [[0], [0], [2], [2]]
    settings = ClipSettings(input_size=(32, 64), frames=1, flip=0.0, scale_low=1.0, scale_high=1.0)
    store = FrameStore(frames, settings.stored_size, False, None)
    shares = []
    for number in range(4):
        (sample,) = ClipSampler(frames, store, settings, 0, panoptic=found).clip(number)
        assert sample.panoptic is not None
        shares.append(float((sample.panoptic.ids > 0).mean()))
    assert sorted(shares) == [4 / 64, 4 / 64, 1.0, 1.0]


def test_what_is_missing_is_named(tmp_path):
    root = tmp_path / "drive"
    frame = frame_of(root / "training/image_02/0003/000007.png")
    assert frame_name(frame.path) == "0003/000007"
    with pytest.raises(InputError, match="expected one folder for each of 1 data, got 2"):
        PanopticFrames([frame], [root], [root, root], SPACE)
    with pytest.raises(InputError, match="expected COCO panoptic JSON files, one for each sequence; found none"):
        PanopticFrames([frame], [root], [tmp_path], SPACE)
    write(tmp_path / "labels", "0003", {6: labels_of([[1]], [2])})
    with pytest.raises(InputError, match=r"000007.png: no panoptic labels of this image among those for .*drive"):
        PanopticFrames([frame], [root], [tmp_path / "labels"], SPACE)
    wanted = LabelSpace((*SPACE.names, "tram"), (*SPACE.is_thing, False))
    with pytest.raises(InputError, match=r"0003.json: expected the class tram, got car, pedestrian, road, sky"):
        PanopticFrames([frame], [root], [tmp_path / "labels"], wanted)
    wanted = LabelSpace(SPACE.names, (True, False, False, False))
    with pytest.raises(InputError, match=r"0003.json: expected the class pedestrian to be stuff, got a thing"):
        PanopticFrames([frame], [root], [tmp_path / "labels"], wanted)
