import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from wsperception.errors import InputError
from wsperception.learn.panoptic.cache import (
    BoxedImage,
    prepare_agreed_labels,
    read_labels,
    write_labels,
)
from wsperception.learn.panoptic.cleaning import BACKGROUND
from wsperception.learn.panoptic.labels import PseudoPanoptic, agreed_labels
from wsperception.learn.pseudo.masks import PseudoSettings

SETTINGS = PseudoSettings(side=32, superpixels=20)


def boxed(folder: Path, number: int = 0) -> BoxedImage:
    """A red disc in a tight box."""
    pixels = np.random.default_rng(number).integers(90, 130, (48, 64, 3), np.uint8)
    cv2.circle(pixels, (30, 24), 12, (30, 30, 210), -1)
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), pixels)
    return BoxedImage(path, np.array([[18, 12, 43, 37]], np.float32), np.array([3]))


def test_labels_are_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = boxed(tmp_path)
    (path,) = prepare_agreed_labels([image], SETTINGS, tmp_path / "cache")
    pixels = cv2.imread(str(image.path), cv2.IMREAD_COLOR_RGB)
    expected = agreed_labels(pixels, image.boxes, image.classes, SETTINGS)
    found = read_labels(path)
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.instances, expected.instances)
    assert found.labels[24, 30] == 3

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("wsperception.learn.panoptic.cache.agreed_labels", fail)
    assert prepare_agreed_labels([image], SETTINGS, tmp_path / "cache") == [path]
    for other, settings in (
        (replace(image, boxes=image.boxes + 1), SETTINGS),
        (replace(image, classes=np.array([4])), SETTINGS),
        (image, replace(SETTINGS, core=0.4)),
    ):
        with pytest.raises(AssertionError, match="computed again"):
            prepare_agreed_labels([other], settings, tmp_path / "cache")


def test_a_broken_file_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = boxed(tmp_path)
    (path,) = prepare_agreed_labels([image], SETTINGS, tmp_path)
    sound = read_labels(path)
    for broken in (path.read_bytes()[:200], b"", b"PK\x03\x04 nothing"):
        path.write_bytes(broken)
        with caplog.at_level(logging.WARNING):
            prepare_agreed_labels([image], SETTINGS, tmp_path)
        assert "made anew" in caplog.text
        assert np.array_equal(read_labels(path).labels, sound.labels)


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    images = [boxed(tmp_path, number) for number in (0, 1, 2)]
    alone = prepare_agreed_labels(images, SETTINGS, tmp_path / "alone")
    shared = prepare_agreed_labels(images, SETTINGS, tmp_path / "shared", workers=2)
    assert [path.name for path in alone] == [path.name for path in shared]
    for one, other in zip(alone, shared, strict=True):
        assert np.array_equal(read_labels(one).labels, read_labels(other).labels)


def test_images_without_boxes_are_allowed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = replace(boxed(tmp_path), boxes=np.zeros((0, 4), np.float32), classes=np.zeros(0, np.int64))
    with caplog.at_level(logging.WARNING):
        (path,) = prepare_agreed_labels([image], SETTINGS, tmp_path)
    assert "1 of 1 images have no boxes" in caplog.text
    assert (read_labels(path).labels == BACKGROUND).all()


def test_bad_input_is_named(tmp_path: Path) -> None:
    image = boxed(tmp_path)
    outside = replace(image, boxes=np.array([[70, 5, 90, 20]], np.float32))
    with pytest.raises(InputError, match=r"0\.png: box 0: expected a part inside 64 x 48 px, got 70, 5, 90, 20"):
        prepare_agreed_labels([outside], SETTINGS, tmp_path)
    with pytest.raises(InputError, match=r"0\.png: expected classes 0 to 253, got \[254\]"):
        prepare_agreed_labels([replace(image, classes=np.array([254]))], SETTINGS, tmp_path)
    with pytest.raises(InputError, match=r"no\.png: cannot be read: No such file"):
        prepare_agreed_labels([replace(image, path=tmp_path / "no.png")], SETTINGS, tmp_path)
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(InputError, match=r"text\.png: expected an image that OpenCV reads"):
        prepare_agreed_labels([replace(image, path=text)], SETTINGS, tmp_path)
    with pytest.raises(InputError, match=r"absent\.npz: not a file of panoptic labels"):
        read_labels(tmp_path / "absent.npz")
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, labels=np.zeros((2, 3), np.uint8), instances=np.zeros((3, 2), np.int32))
    with pytest.raises(InputError, match=r"wrong\.npz: expected labels and instances of one size"):
        read_labels(wrong)


def test_nothing_is_left_of_an_interrupted_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsperception.learn.kept_work.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_labels(tmp_path / "a.npz", PseudoPanoptic(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.int32)))
    assert list(tmp_path.iterdir()) == []
