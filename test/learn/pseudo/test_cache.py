import dataclasses
import json
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.data.augmentation import augment, no_augmentation
from wsperception.data.clips import ClipSettings
from wsperception.data.frame_store import FrameStore
from wsperception.data.labelled_frames import FrameMasks, LabelledFrame
from wsperception.errors import InputError
from wsperception.learn.pseudo.cache import kept_pseudo_masks, mask_shares, with_pseudo_masks
from wsperception.learn.pseudo.masks import PseudoSettings

SETTINGS = PseudoSettings(side=32, superpixels=20)


def frame(folder: Path, number: int = 0) -> LabelledFrame:
    """A red disc in a tight box, and a box over nothing but noise."""
    image = np.random.default_rng(number).integers(90, 130, (48, 96, 3), np.uint8)
    cv2.circle(image, (30, 24), 12, (30, 30, 210), -1)
    path = folder / f"{number:06d}.png"
    cv2.imwrite(str(path), image)
    boxes = np.array([[18, 12, 43, 37], [60, 0, 96, 48]], np.float32)
    return LabelledFrame(path, 0, number, boxes, np.array([0, 1]), np.array([0, 1]), np.zeros((0, 4), np.float32), None)


def content(masks: FrameMasks | None) -> tuple[object, ...]:
    assert masks is not None
    return dataclasses.astuple(masks)


def test_masks_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = with_pseudo_masks([frame(tmp_path)], SETTINGS, cache)
    assert [path.suffix for path in cache.iterdir()] == [".json"]

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("wsperception.learn.pseudo.cache.frame_pseudo_masks", fail)
    again = with_pseudo_masks([frame(tmp_path)], SETTINGS, cache)
    assert content(again[0].masks) == content(first[0].masks)
    with pytest.raises(AssertionError, match="computed again"):
        with_pseudo_masks([frame(tmp_path)], replace(SETTINGS, core=0.4), cache)
    moved = replace(frame(tmp_path), boxes=frame(tmp_path).boxes + 1)
    with pytest.raises(AssertionError, match="computed again"):
        with_pseudo_masks([moved], SETTINGS, cache)


def test_a_broken_file_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    masks = kept_pseudo_masks(frame(tmp_path), SETTINGS, tmp_path)
    (path,) = tmp_path.glob("*.json")
    sound = path.read_text()
    values = json.loads(sound)
    other = {**values, "objects": values["objects"][::-1]}
    fewer = {**values, "objects": values["objects"][:1]}
    for broken in (sound[:40], "", "[]", "\udcff", json.dumps(other), json.dumps(fewer), json.dumps({"size": [1, 2]})):
        path.write_bytes(broken.encode("utf-8", "surrogateescape"))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            again = kept_pseudo_masks(frame(tmp_path), SETTINGS, tmp_path)
            assert content(again) == content(masks)
        assert "made anew" in caplog.text
        assert path.read_text() == sound


def test_nothing_is_left_of_an_interrupted_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsperception.learn.kept_work.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kept_pseudo_masks(frame(tmp_path), SETTINGS, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    broken = frame(tmp_path)
    for content in (b"", b"no image"):
        broken.path.write_bytes(content)
        with pytest.raises(InputError, match=r"000000\.png: expected an image that OpenCV reads"):
            kept_pseudo_masks(broken, SETTINGS, tmp_path)
    broken.path.unlink()
    with pytest.raises(InputError, match=r"000000\.png: cannot be read: No such file"):
        kept_pseudo_masks(broken, SETTINGS, tmp_path)


def test_processes_give_the_same(tmp_path: Path) -> None:
    frames = [frame(tmp_path, number) for number in range(3)]
    alone = with_pseudo_masks(frames, SETTINGS, tmp_path / "alone")
    together = with_pseudo_masks(frames, SETTINGS, tmp_path / "together", workers=2)
    assert [content(made.masks) for made in together] == [content(made.masks) for made in alone]
    assert [made.path for made in together] == [made.path for made in frames]


def test_no_frames(tmp_path: Path) -> None:
    assert with_pseudo_masks([], SETTINGS, tmp_path / "cache") == []


def test_a_rejected_mask_leaves_its_box_in_the_sample(tmp_path: Path) -> None:
    (made,) = with_pseudo_masks([frame(tmp_path)], replace(SETTINGS, largest_fill=0.9), tmp_path / "cache")
    assert made.masks is not None
    made = replace(
        made, masks=replace(made.masks, objects=(made.masks.objects[0], rle.encode(np.zeros((48, 96), bool))))
    )
    assert (mask_shares(made).boxes, mask_shares(made).rejected) == (2, 1)
    settings = ClipSettings(input_size=(48, 96), stored_scale=1.0, min_area=4)
    store = FrameStore([made], settings.stored_size, True, None)
    sample = augment(made, store[0], no_augmentation(), settings, 0)
    assert sample.boxes.tolist() == made.boxes.tolist()
    assert sample.masks is not None
    assert sample.ignore_mask is not None
    assert sample.masks[0].sum() > 200
    assert sample.masks[1].sum() == 0
    assert sample.ignore_mask.any()
    assert not (sample.ignore_mask & sample.masks[0]).any()
    # Drawn by hand, an object without pixels is one that is not seen.
    assert made.masks is not None
    drawn = replace(made, masks=replace(made.masks, drawn=True))
    assert len(augment(drawn, store[0], no_augmentation(), settings, 0).boxes) == 1
