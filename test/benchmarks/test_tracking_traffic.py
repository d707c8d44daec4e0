"""The simulated traffic that trackers are tuned on: who hides whom, and that it is always the same."""

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="the package 'pycocotools' is not installed")

from benchmarks.tracking import traffic
from benchmarks.tracking.traffic import Car, Lane
from wsperception import rle

LANE = Lane(0.0, 0.0, 10.0, 0.0)
VAN = Car(1, LANE, 20.0, 0.0, True, 0.0, 2.4, 2.9, 7.0)


def car(ahead_m: float, across_m: float) -> Car:
    return Car(2, LANE, ahead_m, 0.0, False, across_m, 1.8, 1.5, 4.5)


def test_a_van_hides_what_is_behind_it_and_is_no_object_itself() -> None:
    # With the camera 1.65 m up, a van at 20 m reaches from -0.063 to 0.083 focal lengths below the horizon and 0.06 to
    # either side; a car at 40 m from 0.004 to 0.041, and 0.0225 to either side.
    assert traffic._seen([VAN, car(40.0, 0.0)], 0.0, 0) == []
    (seen,) = traffic._seen([VAN, car(40.0, 10.0)], 0.0, 0)
    assert seen.track_id % 1000 == 2


def test_a_nearer_car_hides_a_van() -> None:
    alone, before = (traffic._seen(cars, 0.0, 0)[0] for cars in ([car(10.0, 0.0)], [VAN, car(10.0, 0.0)]))
    assert rle.area(alone.counts) == rle.area(before.counts)


def test_traffic_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "FRAMES", 4)
    once, again = traffic.traffic("street0"), traffic.traffic("street0")
    assert [entry.counts for entry in once.sequence.objects] == [entry.counts for entry in again.sequence.objects]
    assert {entry.frame for entry in once.sequence.objects} == {0, 1, 2, 3}


def test_nobody_drives_into_the_one_before() -> None:
    # 6 m are less than the length of 4.5 m and 3 m: half a metre per second slower than the one before, for 0.1 s.
    behind, ahead = car(10.0, 0.0), car(16.0, 0.0)
    behind.own_speed = 100.0
    traffic._drive([behind, ahead], np.random.default_rng(0))
    assert behind.ahead_m == pytest.approx(9.95)
    assert ahead.ahead_m == 16.0
