"""An overlay video that plays in a browser."""

import contextlib
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from wsperception.errors import InputError

# VP9 in MP4 plays in Chrome, Firefox, Edge and Safari, and libvpx (BSD) is the encoder in every FFmpeg build; H.264
# would need x264 (GPL) or patents' licences. `realtime` at speed 7 takes 10 ms for 1242 x 375 on two cores,
# where the default takes 320 ms. `b` 0 with `crf` asks for constant quality.
_ENCODER = "libvpx-vp9"
_ENCODER_OPTIONS = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "30", "b": "0", "g": "50"}
_MAX_RATE_HZ = 240.0
_BT601, _LIMITED_RANGE = 6, 1  # FFmpeg's numbers: AVCOL_SPC_SMPTE170M, AVCOL_RANGE_MPEG


def import_av(purpose: str) -> ModuleType:
    """The package PyAV; InputError naming `purpose` where it is not installed, because only videos need it."""
    try:
        import av
    except ImportError:
        raise InputError(f"{purpose}: needs the package 'av' (pip install av)") from None
    return av


class VideoWriter:
    """Writes frames of one size to an MP4 file, which appears under its name only when it is complete.

    path        ends in .mp4; its folder exists
    size        (H, W) of the frames; an odd edge loses its last row or column, as 4:2:0 pixels come in pairs
    rate_hz     frames per second

    Use as a context: leaving it normally finishes the file, leaving it by an error removes what was written. Not
    thread-safe. Raises InputError where the package `av` is missing, OSError where the disk is full.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float) -> None:
        self._av: Any = import_av(f"{path}")
        self._path, self._size = path, size
        self._height, self._width = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".mp4", dir=path.parent)
        os.close(handle)
        self._partial = Path(name)
        # faststart: the index comes first, so that a browser plays before everything is loaded
        self._container = self._av.open(str(self._partial), "w", format="mp4", options={"movflags": "faststart"})
        rate = Fraction(min(rate_hz, _MAX_RATE_HZ)).limit_denominator(1001)
        self._stream = self._container.add_stream(_ENCODER, rate=rate, options=_ENCODER_OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        # What the conversion from RGB does, written down: browsers guess another matrix for large frames.
        context = self._stream.codec_context
        context.colorspace, context.color_range = _BT601, _LIMITED_RANGE

    def write(self, image: np.ndarray) -> None:
        """Appends a frame, (H, W, 3) uint8 RGB."""
        assert image.shape[:2] == self._size
        cropped = np.ascontiguousarray(_at_least_two(image)[: self._height, : self._width])
        self._mux(self._av.VideoFrame.from_ndarray(cropped, format="rgb24"))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._mux(None)
                self._container.close()
                os.replace(self._partial, self._path)
        finally:
            self._discard()

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _discard(self) -> None:
        # Closing writes the index, which on a full disk fails a second time; the first error is the one to tell.
        with contextlib.suppress(OSError, self._av.error.FFmpegError):
            self._container.close()
        self._partial.unlink(missing_ok=True)


def _at_least_two(image: np.ndarray) -> np.ndarray:
    """The image with a single row or column doubled."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, max(2 - height, 0)), (0, max(2 - width, 0)), (0, 0)), mode="edge")
