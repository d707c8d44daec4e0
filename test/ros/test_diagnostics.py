"""Counts, rates and percentiles, and the verdicts that thresholds draw from them."""

import pytest

from wsperception.ros import statistics
from wsperception.ros.diagnostics import ERROR, OK, WARN, camera_status, worst_of
from wsperception.ros.parameters import DiagnosticSettings
from wsperception.ros.statistics import CameraStatistics, Counts, Snapshot


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that stands still until it is moved."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(statistics, "time", made)
    return made


def test_rates_ages_and_stages(clock):
    camera = CameraStatistics()
    # 11 images, 0.1 s apart: 10 Hz. Every second one is published: 5 Hz. Ages 0, 10, .. 100 ms: p50 50, p95 95.
    for number in range(11):
        camera.arrived(10.0 * number)
        if number % 2 == 0:
            camera.published({"network": 20.0 + number, "track": 1.0})
        else:
            camera.dropped()
        clock.now += 0.1
    clock.now -= 0.1
    snapshot = camera.snapshot()
    assert snapshot.input_hz == pytest.approx(10.0) and snapshot.output_hz == pytest.approx(5.0)
    assert snapshot.age_ms == pytest.approx((50.0, 95.0, 99.0))
    assert snapshot.stages_ms["network"] == pytest.approx((25.0, 29.5, 29.9))  # of 20, 22, .. 30
    assert snapshot.counts == Counts(received=11, published=6, dropped=5)
    # Drops: 5 in 0.8 s are 5 Hz, half of 10 Hz.
    assert snapshot.drop_percent == pytest.approx(50.0)
    assert snapshot.silent_s == pytest.approx(0.0)


def test_the_past_is_forgotten_but_counts_stay(clock):
    camera = CameraStatistics()
    for _ in range(5):
        camera.arrived(5.0)
        camera.published({"network": 1.0})
        clock.now += 0.1
    clock.now += 10.0
    snapshot = camera.snapshot()
    assert (snapshot.input_hz, snapshot.output_hz, snapshot.age_ms) == (0.0, 0.0, ())
    assert snapshot.stages_ms == {"network": ()} and snapshot.counts.received == 5
    assert snapshot.silent_s == pytest.approx(10.1)


def test_without_any_image(clock):
    snapshot = CameraStatistics().snapshot()
    assert (snapshot.input_hz, snapshot.drop_percent, snapshot.age_ms) == (0.0, 0.0, ())


def test_a_slow_camera_is_not_rounded(clock):
    camera = CameraStatistics()
    for _ in range(4):
        camera.arrived(None)
        clock.now += 1.6
    clock.now -= 1.6
    assert camera.snapshot().input_hz == pytest.approx(1 / 1.6)


def fine(**changes):
    values = {
        "counts": Counts(),
        "input_hz": 10.0,
        "output_hz": 10.0,
        "age_ms": (20.0, 30.0, 40.0),
        "stages_ms": {"network": (50.0, 60.0, 70.0)},
        "silent_s": 0.05,
        "drop_percent": 0.0,
    }
    return Snapshot(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, OK, "10.0 Hz"),
        ({"age_ms": (600.0, 600.0, 600.0)}, WARN, "input is 600 ms old"),
        ({"age_ms": (2500.0, 2500.0, 2500.0)}, ERROR, "input is 2500 ms old"),
        ({"age_ms": ()}, OK, "10.0 Hz"),
        ({"drop_percent": 60.0}, WARN, "60 % of the images are dropped"),
        ({"drop_percent": 96.0}, ERROR, "96 % of the images are dropped"),
        ({"output_hz": 4.0}, WARN, "output rate is 4.0 Hz"),
        ({"output_hz": 1.0}, ERROR, "output rate is 1.0 Hz"),
        ({"silent_s": 6.0}, ERROR, "no image for 6 s: because"),
        # The worst verdict wins over one that comes first.
        ({"age_ms": (600.0,) * 3, "output_hz": 1.0}, ERROR, "output rate is 1.0 Hz"),
    ],
)
def test_verdicts(changes, level, text):
    settings = DiagnosticSettings(warn_rate_hz=5.0, error_rate_hz=2.0)
    got_level, message = worst_of(fine(**changes), settings, enabled=True, silence="because")
    assert got_level == level and message.startswith(text)


def test_thresholds_of_zero_never_speak():
    silent = DiagnosticSettings(
        warn_age_ms=0, error_age_ms=0, warn_rate_hz=0, error_rate_hz=0, warn_drop_percent=0, error_drop_percent=0
    )
    bad = fine(age_ms=(1e6,) * 3, output_hz=0.0, drop_percent=100.0)
    assert worst_of(bad, silent, enabled=True, silence="")[0] == OK


def test_disabled_is_a_warning_not_silence():
    level, text = worst_of(fine(silent_s=60.0), DiagnosticSettings(), enabled=False, silence="")
    assert level == WARN and "disabled" in text


def test_a_status_lists_everything():
    status = camera_status("node: front", "/front/image", fine(), DiagnosticSettings(), enabled=True, silence="")
    values = {pair.key: pair.value for pair in status.values}
    assert (status.name, status.hardware_id, status.level) == ("node: front", "/front/image", OK)
    assert values["input age p50 p95 p99 [ms]"] == "20.00 30.00 40.00"
    assert values["network p50 p95 p99 [ms]"] == "50.00 60.00 70.00"
    assert values["images dropped"] == "0" and values["input topic"] == "/front/image"
