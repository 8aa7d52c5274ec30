"""Send times of requests in an open loop."""

from itertools import takewhile
from random import Random

import numpy as np
import pytest

from loadtest.arrivals import constant, poisson


def test_constant_arrivals_are_one_interval_apart_and_never_before_the_start() -> None:
    times = list(takewhile(lambda at: at < 103.0, constant(rate=4.0, start_s=100.1)))
    assert times == pytest.approx(np.arange(100.25, 103.0, 0.25))


def test_alternating_users_together_send_at_a_constant_interval() -> None:
    users, rate = 5, 50.0
    times = [
        takewhile(lambda at: at < 8.0, constant(rate / users, start_s, user / users))
        for user, start_s in enumerate((7.0, 7.03, 7.5, 7.21, 7.4))
    ]
    together = np.array(sorted(at for one in times for at in one if at >= 7.6))
    assert np.diff(together) == pytest.approx(np.full(len(together) - 1, 1 / rate))


def test_poisson_arrivals_have_the_rate_and_are_independent() -> None:
    times = np.array(list(takewhile(lambda at: at < 1000.0, poisson(20.0, 0.0, Random(102)))))
    gaps = np.diff(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)  # of an exponential distribution
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.03
