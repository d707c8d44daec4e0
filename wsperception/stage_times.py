"""Percentiles of how long the stages of the path take, in memory that does not grow with the number of frames."""

from collections.abc import Mapping

import numpy as np

_LOWEST_MS = 1e-3
_BINS_PER_DECADE = 200  # neighbouring bins differ by 1.2 per cent
_BINS = 9 * _BINS_PER_DECADE  # 1 us to 1000 s


class StageTimes:
    """A histogram with logarithmic bins for every stage."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray] = {}

    def add(self, timings_ms: Mapping[str, float]) -> None:
        """Counts one frame: milliseconds of each of its stages."""
        for stage, milliseconds in timings_ms.items():
            counts = self._counts.setdefault(stage, np.zeros(_BINS, np.int64))
            place = np.log10(max(milliseconds, _LOWEST_MS) / _LOWEST_MS) * _BINS_PER_DECADE
            counts[min(int(place), _BINS - 1)] += 1

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Stage -> p50, p95 and p99 in milliseconds, each within 1 per cent. Empty before the first frame."""
        return {
            stage: {f"p{percent}": _percentile(counts, percent) for percent in (50, 95, 99)}
            for stage, counts in self._counts.items()
        }


def _percentile(counts: np.ndarray, percent: int) -> float:
    """Centre of the bin that holds the smallest value with at least `percent` per cent of all at or below it."""
    rank = int(np.ceil(counts.sum() * percent / 100))
    place = int(np.searchsorted(np.cumsum(counts), rank))
    return float(f"{_LOWEST_MS * 10 ** ((place + 0.5) / _BINS_PER_DECADE):.4g}")
