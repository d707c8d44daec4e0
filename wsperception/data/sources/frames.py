"""A source of frames: what it promises, and what every source does about frames that cannot be used."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from wsperception.errors import InputError
from wsperception.types import Frame

_LOG = logging.getLogger(__name__)

DEFAULT_RATE_HZ = 10.0
"""Frame rate of KITTI's cameras, taken where a source does not know its own."""


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that could not be used: its number in the source, and why."""

    index: int
    reason: str


@dataclass(frozen=True, eq=False)
class Reading:
    """One attempt to read a frame.

    index     number of the frame in its source, >= 0
    stamp_ns  nanoseconds, >= 0
    label     what a person would look for: a file, a message number
    image     (H, W, 3) uint8 RGB; None where it could not be read
    problem   why it could not be read; empty otherwise
    """

    index: int
    stamp_ns: int
    label: str
    image: np.ndarray | None
    problem: str = ""


class Source:
    """Frames of one sequence, read while they are iterated: memory does not grow with the length.

    origin    file or folder, for messages
    name      of the sequence; names the result file
    length    number of frames, readable or not; None where only reading tells
    rate_hz   frames per second, for an overlay video
    readings  gives a fresh pass over the attempts to read a frame

    Iterating gives `Frame`s in order. A frame that cannot be read is left out and put into `skipped`; the others keep
    their numbers. Raises InputError when two frames differ in size, naming both, and when no frame at all is readable.
    """

    def __init__(
        self, origin: str, name: str, length: int | None, rate_hz: float, readings: Callable[[], Iterator[Reading]]
    ) -> None:
        self.origin = origin
        self.name = name
        self.length = length
        self.rate_hz = rate_hz
        self.skipped: list[SkippedFrame] = []
        self._readings = readings

    def __iter__(self) -> Iterator[Frame]:
        self.skipped.clear()
        first: tuple[str, tuple[int, ...]] | None = None
        for reading in self._readings():
            if reading.image is None:
                self._skip(reading)
                continue
            first = first or (reading.label, reading.image.shape)
            if reading.image.shape != first[1]:
                wanted, got = _size(first[1]), _size(reading.image.shape)
                raise InputError(f"{reading.label}: expected {wanted} pixels as in {first[0]}, got {got}")
            yield Frame(reading.image, reading.stamp_ns, self.name, reading.index)
        if first is None:
            raise InputError(self._nothing_readable())

    def _skip(self, reading: Reading) -> None:
        self.skipped.append(SkippedFrame(reading.index, reading.problem))
        _LOG.debug("%s: skipped: %s", reading.label, reading.problem)

    def _nothing_readable(self) -> str:
        if not self.skipped:
            return f"{self.origin}: expected at least one frame, got none"
        return f"{self.origin}: none of {len(self.skipped)} frames could be read; the first: {self.skipped[0].reason}"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
