import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.data.frame_store import FrameStore, decode_frame
from wsperception.data.labelled_frames import FrameMasks, LabelledFrame
from wsperception.errors import InputError
from wsperception.preprocess import letterbox

SIZE = (20, 40)
"""(h', w') of the stores."""


def make_frame(folder: Path, number: int, image_size: tuple[int, int], masks: FrameMasks | None) -> LabelledFrame:
    path = folder / f"{number:06d}.png"
    random = np.random.default_rng(number)
    cv2.imwrite(str(path), random.integers(0, 256, (*image_size, 3), np.uint8))
    none = np.zeros((0, 4), np.float32)
    return LabelledFrame(path, 0, number, none, np.zeros(0, np.int64), np.zeros(0, np.int64), none, masks)


def half_mask(size: tuple[int, int]) -> FrameMasks:
    """One object that covers the left half."""
    mask = np.zeros(size, bool)
    mask[:, : size[1] // 2] = True
    return FrameMasks(size, (rle.encode(mask),), ())


@pytest.fixture
def frames(tmp_path: Path) -> list[LabelledFrame]:
    """Two frames of different size; the second has no masks."""
    return [make_frame(tmp_path, 0, (40, 60), half_mask((40, 60))), make_frame(tmp_path, 1, (30, 80), None)]


def test_stored_frames_are_the_letterboxed_ones(frames: list[LabelledFrame], tmp_path: Path) -> None:
    store = FrameStore(frames, SIZE, True, tmp_path / "cache")
    assert len(store) == 2
    # (40, 60) into (20, 40): half size, (20, 30). (30, 80): half size, (15, 40).
    for row, content in ((0, (20, 30)), (1, (15, 40))):
        image = cv2.imread(str(frames[row].path), cv2.IMREAD_COLOR_RGB)
        buffer, placing = letterbox(image, SIZE)
        found = store[row]
        assert found.image.shape == (*content, 3)
        np.testing.assert_array_equal(found.image, buffer[: content[0], : content[1]])
        assert found.placing == placing
    first, second = store[0].label_map, store[1].label_map
    assert first is not None
    assert second is not None
    assert (first[:, :15] == 1).all()
    assert (first[:, 15:] == 0).all()
    assert second.shape == (15, 40)
    assert not second.any()


@pytest.mark.parametrize("with_masks", [True, False])
def test_with_and_without_cache(frames: list[LabelledFrame], tmp_path: Path, with_masks: bool) -> None:
    kept = FrameStore(frames, SIZE, with_masks, tmp_path / "cache")
    fresh = FrameStore(frames, SIZE, with_masks, None)
    for row in range(2):
        np.testing.assert_array_equal(kept[row].image, fresh[row].image)
        assert kept[row].placing == fresh[row].placing
        if with_masks:
            np.testing.assert_array_equal(kept[row].label_map, fresh[row].label_map)
        else:
            assert kept[row].label_map is None
            assert fresh[row].label_map is None


def test_weak_supervision_keeps_no_masks_on_disk(frames: list[LabelledFrame], tmp_path: Path) -> None:
    FrameStore(frames, SIZE, False, tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").glob("*/*")) == ["images.npy", "sizes.npy"]


def test_a_second_store_reads_what_the_first_decoded(frames: list[LabelledFrame], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    digest = FrameStore(frames, SIZE, True, cache).digest()
    assert [path.name for path in cache.iterdir()] == [digest]
    status = frames[0].path.stat()
    frames[0].path.write_bytes(b"x" * status.st_size)  # would fail to decode; same size and date, so it is not read
    os.utime(frames[0].path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert FrameStore(frames, SIZE, True, cache)[0].image.shape == (20, 30, 3)


def test_the_digest_changes_with_everything_that_is_stored(frames: list[LabelledFrame], tmp_path: Path) -> None:
    digests = {FrameStore(frames, SIZE, True, None).digest()}
    digests.add(FrameStore(frames, SIZE, False, None).digest())
    digests.add(FrameStore(frames, (20, 41), True, None).digest())
    digests.add(FrameStore(frames[:1], SIZE, True, None).digest())
    other = make_frame(tmp_path, 2, (40, 60), None)
    digests.add(FrameStore([frames[0], other], SIZE, True, None).digest())
    whole = FrameMasks((40, 60), (rle.encode(np.ones((40, 60), bool)),), ())
    none = np.zeros((0, 4), np.float32)
    masked = LabelledFrame(frames[0].path, 0, 0, none, np.zeros(0, np.int64), np.zeros(0, np.int64), none, whole)
    digests.add(FrameStore([masked, frames[1]], SIZE, True, None).digest())
    assert len(digests) == 6


def test_an_image_that_cannot_be_read(frames: list[LabelledFrame], tmp_path: Path) -> None:
    frames[1].path.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"000001\.png: expected an image that OpenCV reads"):
        FrameStore(frames, SIZE, True, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []  # nothing half-written


def test_masks_of_another_size(tmp_path: Path) -> None:
    frame = make_frame(tmp_path, 0, (40, 60), half_mask((40, 62)))
    with pytest.raises(InputError, match=r"000000\.png: expected masks of \(40, 60\), got \(40, 62\)"):
        decode_frame(frame, SIZE, True)


def test_masks_are_sampled_at_pixel_centres(tmp_path: Path) -> None:
    # At half size column 15 covers columns 30 and 31 of the image; its centre, 31.0, is the left edge of the mask.
    mask = np.zeros((40, 60), bool)
    mask[:, 31:] = True
    frame = make_frame(tmp_path, 0, (40, 60), FrameMasks((40, 60), (rle.encode(mask),), ()))
    label_map = decode_frame(frame, SIZE, True).label_map
    assert label_map is not None
    assert label_map[0].tolist() == [0] * 15 + [1] * 15


def test_a_full_disk(frames: list[LabelledFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 2 frames of 20x40 pixels at 3 bytes for the image and 2 for the map: 8,000 bytes.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=7999))
    with pytest.raises(InputError, match=r"expected 0\.0 GB for decoded frames, got 0\.0 GB"):
        FrameStore(frames, SIZE, True, tmp_path / "cache")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=8000))
    FrameStore(frames, SIZE, True, tmp_path / "cache")


def test_a_cache_that_cannot_be_written(frames: list[LabelledFrame], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cannot keep decoded frames here"):
        FrameStore(frames, SIZE, True, tmp_path / "cache")
