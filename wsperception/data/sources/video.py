"""A video file, decoded one frame at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wsperception.data.sources.frames import Reading, Source
from wsperception.errors import InputError
from wsperception.video import import_av


def open_video(path: Path, default_rate_hz: float) -> Source:
    """Source over a video of any format that FFmpeg reads; stamps are its presentation times, counted from the start.

    Frame rate and length come from the file, `default_rate_hz` where it names none. What cannot be decoded is
    skipped, also the end of a truncated file, as far as the file says how long it should be. Raises InputError when
    the file is empty or no video.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path}: empty file; expected a video")
    av = import_av(f"{path}")
    with _open(av, path) as container:
        stream = container.streams.video[0]
        rate_hz = float(stream.average_rate or default_rate_hz)
        length = stream.frames or None
    return Source(str(path), path.stem, length, rate_hz, lambda: _readings(av, path, rate_hz, length))


def _open(av: Any, path: Path) -> Any:
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(
            f"{path}: not a video that FFmpeg reads, or its index is lost ({error.strerror.lower()})"
        ) from None
    if not container.streams.video:
        container.close()
        raise InputError(f"{path}: expected a video, found a file without pictures")
    return container


def _readings(av: Any, path: Path, rate_hz: float, length: int | None) -> Iterator[Reading]:
    index = 0
    with _open(av, path) as container:
        stream = container.streams.video[0]
        # Measured on VP9 with one damaged packet of 54: FFmpeg's decoder then refuses 31 frames with frame threads
        # (which are also what "NONE" gives), and 1 with slice threads.
        stream.thread_type = "SLICE"
        for decoded in _decode(av, container, stream):
            label = f"{path}, frame {index}"
            if isinstance(decoded, str):
                yield Reading(index, round(index * 1e9 / rate_hz), label, None, f"{label}: {decoded}")
            else:
                yield Reading(index, _stamp_ns(decoded, stream, index, rate_hz), label, _pixels(decoded))
            index += 1
    for missing in range(index, length or 0):
        label = f"{path}, frame {missing}"
        problem = f"{label}: the file ends early, after {index} of {length} frames"
        yield Reading(missing, round(missing * 1e9 / rate_hz), label, None, problem)


def _decode(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames, and a text in the place of each that could not be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return  # a damaged container: what is missing is counted against the promised length
        if packet is None:
            return
        try:
            for frame in packet.decode():
                yield "damaged picture" if frame.is_corrupt else frame
        except av.error.FFmpegError as error:
            # At the end of the stream an empty packet flushes the decoder: its complaint is no further frame.
            if packet.size:
                yield f"cannot be decoded ({error.strerror.lower()})"


def _stamp_ns(frame: Any, stream: Any, index: int, rate_hz: float) -> int:
    if frame.pts is None or frame.time_base is None:
        return round(index * 1e9 / rate_hz)
    ticks = frame.pts - (stream.start_time or 0)
    return max(0, int(ticks * frame.time_base * 10**9))


def _pixels(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned upright where a telephone noted its rotation."""
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else np.asarray(image)
