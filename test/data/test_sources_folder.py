"""Folders of images: order, numbers, stamps, what is skipped and what stops."""

import tracemalloc
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.sources import open_source, read_image
from wsperception.errors import InputError

RNG = np.random.default_rng(7)


def picture(height: int = 6, width: int = 10) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[:, :, ::-1])
    return path


def test_natural_order_positions_and_stamps(tmp_path):
    pictures = {name: picture() for name in ("frame 2.png", "frame 10.png", "frame 1.png")}
    for name, rgb in pictures.items():
        save(tmp_path / "walk" / name, rgb)
    (tmp_path / "walk" / "notes.txt").write_text("not an image")
    (tmp_path / "walk" / ".frame 0.png").write_bytes(b"hidden")
    source = open_source(tmp_path / "walk", rate_hz=4.0)
    frames = list(source)
    assert (source.name, source.length, source.rate_hz, source.skipped) == ("walk", 3, 4.0, [])
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.stamp_ns for frame in frames] == [0, 250_000_000, 500_000_000]
    for frame, name in zip(frames, ("frame 1.png", "frame 2.png", "frame 10.png"), strict=True):
        np.testing.assert_array_equal(frame.image, pictures[name])
        assert frame.source == "walk"


def test_a_second_pass_gives_the_same(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", picture())
    (tmp_path / "3.png").write_bytes(b"")
    source = open_source(tmp_path)
    first, second = list(source), list(source)
    assert len(source.skipped) == 1
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


def test_grey_and_16_bit_pictures_become_rgb(tmp_path):
    grey = np.array([[0, 200], [100, 50]], np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))
    deep = np.array([[0x1234, 0xFF00]], np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[:, :, 0], [[0x12, 0xFF]])


def test_jpeg_is_read(tmp_path):
    flat = np.full((16, 16, 3), (200, 30, 60), np.uint8)
    read = read_image(save(tmp_path / "flat.JPG", flat))
    assert np.abs(read.astype(int) - flat).max() <= 3  # red is still red: channels are not swapped


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("2.png", lambda data: b"", "empty file"),
        ("2.png", lambda data: data[: len(data) // 2], "truncated PNG"),
        ("2.png", lambda data: data[:-12], "truncated PNG"),
        ("2.png", lambda data: data[:50] + bytes([data[50] ^ 0xFF]) + data[51:], "damaged PNG: wrong checksum"),
        ("2.png", lambda data: b"hello, I am a text\n" * 20, "not an image"),
        ("2.jpg", lambda data: data[: len(data) // 2], "truncated JPEG"),
        ("2.jpg", lambda data: data[:2] + bytes(200), "not an image"),
    ],
)
def test_one_damaged_frame_is_skipped_and_the_others_keep_their_numbers(tmp_path, capfd, name, damage, reason):
    suffix = Path(name).suffix
    for number in range(5):
        save(tmp_path / f"{number}{suffix}", picture(64, 64))
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    source = open_source(tmp_path)
    assert [frame.index for frame in source] == [0, 1, 3, 4]
    (skip,) = source.skipped
    assert skip.index == 2
    assert str(tmp_path / name) in skip.reason
    assert reason in skip.reason
    assert capfd.readouterr().err == ""  # libpng's own complaints do not reach the terminal


def test_a_folder_that_disappears_file_by_file(tmp_path):
    files = [save(tmp_path / f"{number}.png", picture()) for number in range(3)]
    source = open_source(tmp_path)
    files[1].unlink()
    assert [frame.index for frame in source] == [0, 2]
    assert "no such file" in source.skipped[0].reason


def test_mixed_sizes_name_both_files(tmp_path):
    save(tmp_path / "a.png", picture(6, 10))
    save(tmp_path / "b.png", picture(6, 10))
    save(tmp_path / "c.png", picture(6, 12))
    with pytest.raises(InputError) as caught:
        list(open_source(tmp_path))
    expected = f"{tmp_path}/c.png: expected 10 x 6 pixels as in {tmp_path}/a.png, got 12 x 6"
    assert str(caught.value) == expected


def test_nothing_readable_says_the_first_reason(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 3 frames could be read; the first: .*0\.png: empty file"):
        list(open_source(tmp_path))


def test_folders_without_images(tmp_path):
    with pytest.raises(InputError, match=r"expected images .*found an empty folder"):
        open_source(tmp_path)
    for name in "abcde":
        (tmp_path / f"{name}.txt").touch()
    with pytest.raises(InputError, match=r"found a\.txt, b\.txt, c\.txt and 2 more"):
        open_source(tmp_path)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_must_be_positive(tmp_path, rate):
    save(tmp_path / "0.png", picture())
    with pytest.raises(InputError, match="rate: expected more than 0"):
        open_source(tmp_path, rate_hz=rate)


def test_what_is_no_source(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(InputError, match="a single image; expected the folder"):
        open_source(save(tmp_path / "0.png", picture()))
    with pytest.raises(InputError, match="leave --topic out"):
        open_source(tmp_path, topic="/camera")


def test_frames_are_not_kept(tmp_path):
    for number in range(12):
        save(tmp_path / f"{number}.png", picture())
    alive: list[weakref.ref] = []
    for frame in open_source(tmp_path):
        alive.append(weakref.ref(frame))
        assert sum(reference() is not None for reference in alive) <= 2


def test_memory_does_not_grow_with_the_length(tmp_path):
    shape = (200, 300)  # 180 kB per frame
    save(tmp_path / "0.png", picture(*shape))
    for number in range(1, 60):
        (tmp_path / f"{number}.png").hardlink_to(tmp_path / "0.png")
    tracemalloc.start()
    for _ in open_source(tmp_path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 180_000  # all 60 frames would be 10.8 MB
