"""Percentiles from a histogram, against NumPy's."""

import numpy as np
import pytest

from wsperception.stage_times import StageTimes


def test_by_hand():
    # 100 frames: 98 of 2 ms, then 50 and 900. The 95th smallest is 2, the 99th 50.
    times = StageTimes()
    for milliseconds in [50.0, *[2.0] * 98, 900.0]:
        times.add({"network": milliseconds})
    found = times.percentiles()["network"]
    assert found == {
        "p50": pytest.approx(2.0, rel=0.01),
        "p95": pytest.approx(2.0, rel=0.01),
        "p99": pytest.approx(50.0, rel=0.01),
    }


def test_agrees_with_numpy_within_a_bin():
    values = np.random.default_rng(5).lognormal(2.0, 1.0, 5000)
    times = StageTimes()
    for value in values:
        times.add({"a": float(value), "b": float(value) * 10})
    for stage, factor in (("a", 1.0), ("b", 10.0)):
        for percent in (50, 95, 99):
            expected = np.percentile(values, percent, method="inverted_cdf") * factor
            assert times.percentiles()[stage][f"p{percent}"] == pytest.approx(expected, rel=0.012)


def test_empty_and_extremes():
    times = StageTimes()
    assert times.percentiles() == {}
    times.add({"nothing": 0.0, "ages": 1e9})
    found = times.percentiles()
    assert found["nothing"]["p50"] == pytest.approx(0.001, rel=0.01)
    assert found["ages"]["p50"] == pytest.approx(1e6, rel=0.02)  # the last bin
