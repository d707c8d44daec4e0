"""What happened to the images of one camera: counts since the start, rates and times of the last seconds."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

RATE_WINDOW_S = 5.0
SAMPLES = 300


@dataclass
class Counts:
    """Images since activation: received = published + dropped + refused + failed + ignored, but for those in work.

    received   entered the callback
    published  results sent
    dropped    replaced by a newer one while the network was busy
    refused    not usable: unknown encoding, wrong size, ...
    failed     the network could not run on it
    ignored    came in while `~/enable` was off
    lost       the middleware said that it lost them on the way
    """

    received: int = 0
    published: int = 0
    dropped: int = 0
    refused: int = 0
    failed: int = 0
    ignored: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Snapshot:
    """Figures of one moment; percentiles are (p50, p95, p99) and empty where nothing was measured."""

    counts: Counts
    input_hz: float
    output_hz: float
    age_ms: tuple[float, ...]
    stages_ms: Mapping[str, tuple[float, ...]]
    silent_s: float
    drop_percent: float


@dataclass
class _Rolling:
    """Samples of the recent past, with their times."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    values: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def add(self, now: float, value: float = 0.0) -> None:
        self.times.append(now)
        self.values.append(value)

    def rate(self, now: float) -> float:
        """Events per second. Counted between events, so that a slow camera is not rounded to whole events."""
        recent = [moment for moment in self.times if now - moment <= RATE_WINDOW_S]
        if len(recent) < 2:
            return len(recent) / RATE_WINDOW_S
        return (len(recent) - 1) / max(recent[-1] - recent[0], now - recent[-1], 1e-6)

    def percentiles(self, now: float) -> tuple[float, ...]:
        recent = [value for moment, value in zip(self.times, self.values, strict=True) if now - moment <= RATE_WINDOW_S]
        return tuple(float(value) for value in np.percentile(recent, (50, 95, 99))) if recent else ()


class CameraStatistics:
    """Written by the executor's and the worker's thread, read by the diagnostics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Starts again, as at activation."""
        with self._lock:
            self._counts = Counts()
            self._arrivals, self._outputs, self._ages = _Rolling(), _Rolling(), _Rolling()
            self._drops = _Rolling()
            self._stages: dict[str, _Rolling] = {}
            self._last_arrival = time.monotonic()

    def arrived(self, age_ms: float | None) -> None:
        """An image entered the callback; `age_ms` since its stamp, None where it has none."""
        now = time.monotonic()
        with self._lock:
            self._counts.received += 1
            self._arrivals.add(now)
            self._last_arrival = now
            if age_ms is not None:
                self._ages.add(now, age_ms)

    def dropped(self) -> None:
        with self._lock:
            self._counts.dropped += 1
            self._drops.add(time.monotonic())

    def count(self, name: str, number: int = 1) -> None:
        """Adds to one of the fields of Counts."""
        with self._lock:
            setattr(self._counts, name, getattr(self._counts, name) + number)

    def published(self, stages_ms: Mapping[str, float]) -> None:
        """A result went out; milliseconds of every stage."""
        now = time.monotonic()
        with self._lock:
            self._counts.published += 1
            self._outputs.add(now)
            for name, value in stages_ms.items():
                self._stages.setdefault(name, _Rolling()).add(now, value)

    def snapshot(self) -> Snapshot:
        now = time.monotonic()
        with self._lock:
            input_hz, drop_hz = self._arrivals.rate(now), self._drops.rate(now)
            return Snapshot(
                Counts(**vars(self._counts)),
                input_hz,
                self._outputs.rate(now),
                self._ages.percentiles(now),
                {name: rolling.percentiles(now) for name, rolling in self._stages.items()},
                now - self._last_arrival,
                min(100.0, 100.0 * drop_hz / input_hz) if input_hz > 0 else 0.0,
            )
