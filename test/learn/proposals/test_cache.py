import dataclasses
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("skimage")

from wsperception.errors import InputError
from wsperception.learn.proposals.cache import CacheCounts, kept_proposals, prepare_proposals
from wsperception.learn.proposals.segments import Proposals, ProposalSettings, segment_proposals

SETTINGS = ProposalSettings(superpixels=12, paired=4)


def picture(number: int = 0) -> np.ndarray:
    image = np.random.default_rng(number).integers(90, 130, (20, 32, 3), np.uint8)
    cv2.circle(image, (10, 9), 6, (30, 30, 210), -1)
    return image


def same(found: Proposals, other: Proposals) -> bool:
    pairs = zip(vars(found).values(), vars(other).values(), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def no_making(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("wsperception.learn.proposals.cache.segment_proposals", fail)


def test_proposals_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture()
    first = kept_proposals(image, SETTINGS, tmp_path)
    assert same(first, segment_proposals(image, SETTINGS))
    no_making(monkeypatch)
    assert same(kept_proposals(image, SETTINGS, tmp_path), first)
    # The pixels, their arrangement and each setting are part of the name.
    for other, settings in (
        (image[::-1], SETTINGS),
        (image.reshape(32, 20, 3), SETTINGS),
        (image, replace(SETTINGS, contrast=16.0)),
    ):
        with pytest.raises(AssertionError, match="computed again"):
            kept_proposals(other, settings, tmp_path)


def test_an_image_without_proposals_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((6, 5, 3), 99, np.uint8)
    settings = replace(SETTINGS, superpixels=2, compactness=1000.0)
    single = Proposals(
        np.zeros((6, 5), np.int32), np.zeros((1, 0), bool), np.zeros(0, np.float32), np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
    )  # fmt: skip
    monkeypatch.setattr("wsperception.learn.proposals.cache.segment_proposals", lambda *_: single)
    assert len(kept_proposals(flat, settings, tmp_path)) == 0
    no_making(monkeypatch)
    assert same(kept_proposals(flat, settings, tmp_path), single)


def test_a_broken_file_is_made_anew_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = picture()
    found = kept_proposals(image, SETTINGS, tmp_path)
    (path,) = tmp_path.iterdir()
    sound = path.read_bytes()
    other = tmp_path / "other.npz"
    with other.open("wb") as file:
        np.savez(file, superpixels=np.zeros((20, 32), np.int32), membership=np.zeros((1, 3), np.uint8))
    with (tmp_path / "objects.npz").open("wb") as file:
        np.savez(file, superpixels=np.array([{"a": 1}]))
    array = tmp_path / "array.npy"
    np.save(array, np.zeros(3))
    samples = [b"", b"PK", sound[:100], sound[:-30], other.read_bytes(), array.read_bytes()]
    samples.append((tmp_path / "objects.npz").read_bytes())
    for content in samples:
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert same(kept_proposals(image, SETTINGS, tmp_path), found)
        assert "broken" in caplog.text and "made anew" in caplog.text
        caplog.clear()
        assert same(kept_proposals(image, SETTINGS, tmp_path), found)
        assert caplog.text == ""


def test_no_single_damaged_byte_gives_other_proposals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture()
    found = kept_proposals(image, SETTINGS, tmp_path)
    monkeypatch.setattr("wsperception.learn.proposals.cache.segment_proposals", lambda *_: found)
    (path,) = tmp_path.iterdir()
    sound = path.read_bytes()
    for place in range(0, len(sound), 3):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        assert same(kept_proposals(image, SETTINGS, tmp_path), found), place


def test_a_set_is_prepared_counted_and_resumed(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), picture(number))
    cache = tmp_path / "cache"
    assert prepare_proposals(paths[:1], SETTINGS, cache) == CacheCounts(read=0, made=1, rebuilt=0, empty=0)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"broken")
    assert prepare_proposals(paths[:2], SETTINGS, cache) == CacheCounts(read=0, made=1, rebuilt=1, empty=0)
    assert prepare_proposals(paths, SETTINGS, cache) == CacheCounts(read=2, made=1, rebuilt=0, empty=0)
    # Pixels are keyed, so what was prepared from files serves whoever has the image.
    files = set(cache.iterdir())
    image = cv2.imread(str(paths[2]), cv2.IMREAD_COLOR_RGB)
    assert same(kept_proposals(image, SETTINGS, cache), segment_proposals(image, SETTINGS))
    assert set(cache.iterdir()) == files


def test_workers_change_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), picture(number))
    one, two = tmp_path / "one", tmp_path / "two"
    assert dataclasses.astuple(prepare_proposals(paths, SETTINGS, one)) == (0, 2, 0, 0)
    assert dataclasses.astuple(prepare_proposals(paths, SETTINGS, two, workers=2)) == (0, 2, 0, 0)
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}


def test_nothing_is_left_of_an_interrupted_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsperception.learn.kept_work.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kept_proposals(picture(), SETTINGS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(InputError, match=r"text.png: not an image that OpenCV reads"):
        prepare_proposals([text], SETTINGS, tmp_path / "cache")
    with pytest.raises(InputError, match=r"absent.png: no such file; expected an image"):
        prepare_proposals([tmp_path / "absent.png"], SETTINGS, tmp_path / "cache")
