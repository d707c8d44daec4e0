from itertools import pairwise

import pytest

from wsperception.learn.schedule import learning_rate


def test_by_hand() -> None:
    # Step 0 of 100 with 10 steps of warm-up: 0.6 / 3. Step 5: (1 + 2 * 5 / 10) / 3 = 2/3 of 0.6 * 0.95 ** 0.5.
    assert learning_rate(0, 100, 0.6, 10, 0.5) == pytest.approx(0.2)
    assert learning_rate(5, 100, 0.6, 10, 0.5) == pytest.approx(0.4 * 0.95**0.5)
    # Step 19, warm-up over: 0.6 * 0.81 ** 0.5 = 0.54.
    assert learning_rate(19, 100, 0.6, 10, 0.5) == pytest.approx(0.54)


def test_the_papers_code_uses_a_power_of_nine_tenths() -> None:
    assert learning_rate(50, 100, 1.0, 0) == pytest.approx(0.5**0.9)


def test_without_warm_up_the_peak_comes_first() -> None:
    assert learning_rate(0, 7, 0.3, 0) == 0.3


def test_it_rises_through_the_warm_up_and_falls_to_nearly_nothing() -> None:
    rates = [learning_rate(step, 1000, 1.0, 50) for step in range(1000)]
    assert all(a < b for a, b in pairwise(rates[:40]))
    assert all(a > b for a, b in pairwise(rates[50:]))
    assert 0.0 < rates[-1] < 0.01


def test_the_warm_up_ends_where_the_polynomial_is() -> None:
    # At the first step after the warm-up the factor is (1 + 2) / 3 = 1: no jump.
    before, after = learning_rate(499, 31500, 0.02, 500), learning_rate(500, 31500, 0.02, 500)
    assert after == pytest.approx(0.02 * (1 - 500 / 31500) ** 0.9)
    assert before == pytest.approx(after, rel=2e-3)
