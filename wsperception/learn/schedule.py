"""The learning rate over the run."""

import math


def learning_rate(iteration: int, iterations: int, peak: float, warm_up: int, power: float = 0.9) -> float:
    """The learning rate of step `iteration` of `iterations`, counted from 0.

    peak     rate that the polynomial starts from
    warm_up  steps of the linear rise from peak / 3; the polynomial runs underneath, so the two meet without a jump
    power    exponent of the decay: peak * (1 - iteration / iterations) ** power

    Poly 0.9 with 500 warm-up steps from a third of the rate: the defaults of the seamless-segmentation code that
    WSMOTS builds on (its Table 1 gives the rate only).
    """
    assert 0 <= iteration < iterations, (iteration, iterations)
    rate = peak * math.pow(1.0 - iteration / iterations, power)
    if iteration < warm_up:
        rate *= (1.0 + 2.0 * iteration / warm_up) / 3.0
    return rate
