"""A trace compressed in time, as the moments at which calls are due: an open loop, the same for every policy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from loadtest.traces.reading import Trace

SEED = 102


def rate_at(trace: Trace, share: float) -> float:
    """Calls a second at that share (0 to 1) of the trace, straight from step to step; a gap has those before it."""
    place = min(max(share, 0.0), 1.0) * (len(trace.rates) - 1)
    before = math.floor(place)
    first, second = _known(trace, before), _known(trace, min(before + 1, len(trace.rates) - 1))
    return first + (second - first) * (place - before)


def due_times(trace: Trace, length_s: float, peak: float, seed: int = SEED) -> Iterator[float]:
    """Seconds from the start at which calls are due: a Poisson process whose rate follows the trace.

    The trace takes `length_s` in all, and its highest step has `peak` calls a second. Lewis and Shedler's thinning.
    """
    random, highest, at = Random(seed), trace.peak, 0.0
    if peak <= 0 or highest <= 0:
        return
    while True:
        at += random.expovariate(peak)
        if at >= length_s:
            return
        if random.random() * highest < rate_at(trace, at / length_s):
            yield at


def step_times(low: float, high: float, step_at_s: float, length_s: float, seed: int = SEED) -> Iterator[float]:
    """Seconds at which calls are due: `low` a second, from `step_at_s` on `high`."""
    random, at = Random(seed), 0.0
    while (at := at + random.expovariate(low)) < step_at_s:
        yield at
    at = step_at_s
    while (at := at + random.expovariate(high)) < length_s:
        yield at


def _known(trace: Trace, number: int) -> float:
    for rate in reversed(trace.rates[: number + 1]):
        if rate is not None:
            return rate
    return 0.0
