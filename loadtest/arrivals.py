"""Send times of requests in an open loop: at a constant interval, or as a Poisson process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random


def constant(rate: float, start_s: float, phase: float = 0.0) -> Iterator[float]:
    """Times in seconds, 1/rate apart, from `start_s` on.

    `phase` (0 to 1) shifts them by that share of the interval, relative to the clock's zero: n callers with phases
    0, 1/n, 2/n ... alternate, and together send at a constant interval.
    """
    interval_s = 1 / rate
    number = math.ceil(start_s / interval_s - phase)
    while True:
        yield (number + phase) * interval_s
        number += 1


def poisson(rate: float, start_s: float, random: Random) -> Iterator[float]:
    """Times in seconds of a Poisson process; the superposition of several is also one."""
    at = start_s
    while True:
        at += random.expovariate(rate)
        yield at
