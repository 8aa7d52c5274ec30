"""When requests set out in an open loop: at even distances, or at random as independent callers do; numbers only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random


def constant(rate: float, start_s: float, place: float = 0.0) -> Iterator[float]:
    """Times in seconds, 1/rate apart, from `start_s` on.

    `place` (0 to 1) moves them within that distance, counted from the clock's zero: so n callers at places 0, 1/n,
    2/n ... of one clock set out in turns, and together are as even as one.
    """
    distance_s = 1 / rate
    number = math.ceil(start_s / distance_s - place)
    while True:
        yield (number + place) * distance_s
        number += 1


def poisson(rate: float, start_s: float, random: Random) -> Iterator[float]:
    """Times in seconds of a Poisson process: the sum of several such processes is one again."""
    at = start_s
    while True:
        at += random.expovariate(rate)
        yield at
