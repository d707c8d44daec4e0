"""What reaches the tracker: every frame, every second one, or all but 5 % of them."""

import zlib
from dataclasses import dataclass

import numpy as np

from benchmarks.tracking.detections import Detected

CONDITIONS = ("full rate", "5 Hz", "5 % dropped")


@dataclass(frozen=True, eq=False)
class Stream:
    """The frames that arrive, their stamps, and the rate that a tracker without stamps is told."""

    detected: Detected
    stamps_ns: list[int]
    rate_hz: float


def stream(detected: Detected, condition: str) -> Stream:
    """The frames of a sequence under one of CONDITIONS. Scores count the frames that arrive."""
    count = len(detected.instances)
    frames, rate = np.arange(count), detected.rate_hz
    if condition == "5 Hz":
        step = round(detected.rate_hz / 5.0)
        frames, rate = frames[::step], detected.rate_hz / step
    elif condition == "5 % dropped":
        rng = np.random.default_rng(zlib.crc32(detected.name.encode()))
        frames = frames[rng.random(count) >= 0.05]
    else:
        assert condition == "full rate", condition
    stamps = [round(frame * 1e9 / detected.rate_hz) for frame in frames.tolist()]
    return Stream(detected.every(frames, rate), stamps, rate)
