"""Video files: every frame, its time, and what a damaged or truncated file still gives."""

import tracemalloc
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.video import VideoWriter

av = pytest.importorskip("av", reason="the package 'av' is not installed")


def grey_level(index: int) -> int:
    return 20 + 9 * index


def make_video(path: Path, frames: int = 20, rate_hz: float = 8.0, size: tuple[int, int] = (64, 96)) -> Path:
    """Flat grey frames that tell their number, with a little noise so that packets are not empty."""
    rng = np.random.default_rng(1)
    with VideoWriter(path, size, rate_hz) as writer:
        for index in range(frames):
            noise = rng.integers(-8, 9, (*size, 1))
            writer.write(np.broadcast_to(np.clip(grey_level(index) + noise, 0, 255), (*size, 3)).astype(np.uint8))
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def test_frames_numbers_and_times(tmp_path):
    source = open_source(make_video(tmp_path / "street.mp4"))
    frames = list(source)
    assert (source.name, source.length, source.rate_hz, source.skipped) == ("street", 20, 8.0, [])
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.stamp_ns for frame in frames] == [index * 125_000_000 for index in range(20)]
    for frame in frames:
        assert frame.image.shape == (64, 96, 3)
        assert abs(frame.image.mean() - grey_level(frame.index)) < 4


def test_colours_are_in_rgb_order(tmp_path):
    with VideoWriter(tmp_path / "red.mp4", (64, 64), 10) as writer:
        writer.write(np.full((64, 64, 3), (220, 20, 40), np.uint8))
    (frame,) = open_source(tmp_path / "red.mp4")
    assert np.abs(frame.image.mean(axis=(0, 1)) - (220, 20, 40)).max() < 12


def test_stamps_come_from_the_file_not_from_the_rate(tmp_path):
    path = tmp_path / "uneven.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for ticks in (100, 103, 110):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = ticks, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    # 10.0, 10.3 and 11.0 s, counted from the first
    assert [frame.stamp_ns for frame in open_source(path)] == [0, 300_000_000, 1_000_000_000]


def test_a_truncated_file_gives_its_readable_frames_and_counts_the_rest(tmp_path):
    path = make_video(tmp_path / "cut.mp4")
    place, size = packet_places(path)[12]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    source = open_source(path)
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert 12 <= len(frames) < 20
    assert len(frames) + len(source.skipped) == 20
    assert "the file ends early" in source.skipped[-1].reason


def test_one_damaged_packet_costs_few_frames_and_the_run_goes_on(tmp_path):
    path = make_video(tmp_path / "hurt.mp4", size=(240, 320))
    place, size = packet_places(path)[7]
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    source = open_source(path)
    frames = list(source)
    assert 1 <= len(source.skipped) <= 2
    assert source.skipped[0].index == 7
    assert "frame 7: cannot be decoded" in source.skipped[0].reason
    assert len(frames) + len(source.skipped) == 20
    assert frames[-1].stamp_ns == 19 * 125_000_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file; expected a video"),
        (b"a text, not a video\n" * 50, "not a video that FFmpeg reads"),
    ],
)
def test_what_is_no_video(tmp_path, capfd, data, reason):
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_file_without_its_index(tmp_path):
    path = make_video(tmp_path / "cut.mp4")
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 2 :])
    with pytest.raises(InputError, match="its index is lost"):
        open_source(path)


def test_a_sound_file_is_no_video(tmp_path):
    path = tmp_path / "horn.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    with pytest.raises(InputError, match="found a file without pictures"):
        open_source(path)


def test_memory_does_not_grow_with_the_length(tmp_path):
    path = make_video(tmp_path / "long.mp4", frames=60)
    tracemalloc.start()
    for _ in open_source(path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 64 * 96 * 3  # 30 of 60 frames, with FFmpeg's objects
