"""Scrapes of several processes over the last seconds, and what their counters rose by meanwhile."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ai102.prometheus.api import Labels
from ai102.prometheus.exposition import Scrape

# Long enough to be calm, short enough that a fault shows within seconds.
WINDOW_S = 10.0


class Moment(NamedTuple):
    at_s: float  # of a clock that only rises
    scrape: Scrape


class Span(NamedTuple):
    """Two scrapes of one process, and the time between them."""

    before: Scrape
    after: Scrape
    seconds: float

    def rises(self, name: str, takes: Callable[[Labels], bool] = lambda labels: True) -> Iterable[tuple[Labels, float]]:
        """By how much each counter of that name rose per second; one that fell began anew with its process."""
        earlier = {_key(sample.labels): sample.value for sample in self.before.of(name)}
        for sample in self.after.of(name):
            if takes(sample.labels):
                old = earlier.get(_key(sample.labels), 0.0)
                yield sample.labels, (sample.value - old if sample.value >= old else sample.value) / self.seconds


class Window:
    """The scrapes of one process, as far back as the window reaches."""

    def __init__(self, seconds: float = WINDOW_S) -> None:
        self._seconds = seconds
        self._moments: deque[Moment] = deque()

    def add(self, at_s: float, scrape: Scrape) -> None:
        self._moments.append(Moment(at_s, scrape))
        # The oldest that is kept reaches over the window's edge: a window of one scrape would have no rates.
        while len(self._moments) > 2 and self._moments[1].at_s <= at_s - self._seconds:
            self._moments.popleft()

    def clear(self) -> None:
        """Forget all: the process did not answer, so what comes next may be another one."""
        self._moments.clear()

    @property
    def span(self) -> Span | None:
        """From the oldest to the newest; None while there is only one."""
        if len(self._moments) < 2:
            return None
        first, last = self._moments[0], self._moments[-1]
        return Span(first.scrape, last.scrape, last.at_s - first.at_s)

    def lately(self, seconds: float) -> Span | None:
        """The last `seconds`, or somewhat more; None where the window does not reach so far back."""
        last = self._moments[-1] if self._moments else None
        for first in reversed(self._moments):
            if last is not None and last.at_s - first.at_s >= seconds:
                return Span(first.scrape, last.scrape, last.at_s - first.at_s)
        return None

    @property
    def newest(self) -> Scrape | None:
        return self._moments[-1].scrape if self._moments else None


def summed(rows: Iterable[tuple[Labels, float]], label: str) -> Mapping[str, float]:
    """The values added up by one label."""
    sums: dict[str, float] = {}
    for labels, value in rows:
        sums[labels.get(label, "")] = sums.get(labels.get(label, ""), 0.0) + value
    return sums


def buckets(rows: Iterable[tuple[Labels, float]], label: str) -> Mapping[str, Mapping[float, float]]:
    """A histogram's buckets, {upper bound: value}, added up by one label."""
    sums: dict[str, dict[float, float]] = {}
    for labels, value in rows:
        bound = float(labels.get("le", math.inf))
        of_label = sums.setdefault(labels.get(label, ""), {})
        of_label[bound] = of_label.get(bound, 0.0) + value
    return sums


def _key(labels: Labels) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
