"""Counts the calls in the access log, line by line as the proxy writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

from ai102.access_log.outcomes import OTHER, OUTCOMES, PROTOCOLS, call_from_row
from ai102.contract.serving import Goals

BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


class Counting:
    """Belongs to the one thread that reads the log; scrapes may come from others.

    Labels are pipelines of the contract, or "other": no caller can make a time series.
    """

    def __init__(self, registry: CollectorRegistry, goals: Mapping[str, Goals]) -> None:
        self._goals_ms = {name: goal.p99_ms for name, goal in goals.items()}
        self._requests = Counter(
            "ai102_gateway_requests", "Calls by outcome; other: no inference with a pipeline of the contract.",
            ["pipeline", "protocol", "outcome"], registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "ai102_gateway_request_duration_seconds",
            "Time from a call's first byte to its answer's last, of calls with outcome ok.",
            ["pipeline", "protocol"], registry=registry, buckets=bounds_s(self._goals_ms),
        )  # fmt: skip
        self._unreadable = Counter(
            "ai102_gateway_unreadable_rows", "Rows of the access log that could not be counted.", registry=registry
        )
        # A rate of a counter that begins with its first failure would miss that failure.
        self._add: dict[tuple[str, str, str], Callable[[], None]] = {}
        self._observe: dict[tuple[str, str], Callable[[float], None]] = {}
        for pipeline in (*self._goals_ms, OTHER):
            for protocol in PROTOCOLS:
                self._observe[pipeline, protocol] = self._seconds.labels(pipeline, protocol).observe
                for outcome in OUTCOMES:
                    self._add[pipeline, protocol, outcome] = self._requests.labels(pipeline, protocol, outcome).inc

    def take(self, lines: bytes) -> None:
        """Whole lines of the log; what does not begin with a brace is the proxy's own words."""
        for line in lines.splitlines():
            if line.startswith(b"{"):
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            call = call_from_row(json.loads(line), self._goals_ms)
        except ValueError:  # no JSON, or UnreadableRowError
            self._unreadable.inc()
            return
        if call is None:
            return
        pipeline, protocol, outcome, seconds = call
        add = self._add.get((pipeline, protocol, outcome))
        if add is None:
            add = self._add[pipeline, protocol, outcome] = self._requests.labels(pipeline, protocol, outcome).inc
        add()
        if outcome == "ok":
            observe = self._observe.get((pipeline, protocol))
            if observe is None:
                observe = self._observe[pipeline, protocol] = self._seconds.labels(pipeline, protocol).observe
            observe(seconds)


def bounds_s(goals_ms: Mapping[str, float]) -> list[float]:
    """The bounds of the histogram: each goal is one, so that the share within it is exact."""
    return sorted({bound / 1000 for bound in (*BOUNDS_MS, *goals_ms.values())})
