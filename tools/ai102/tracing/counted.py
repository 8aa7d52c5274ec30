"""What became of a process's spans, as a metric for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from ai102.tracing.exporter import Counts


class SpanCounts(Collector):
    """Asks `counts` at each scrape; they may never fall."""

    def __init__(self, counts: Callable[[], Counts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts()
        family = CounterMetricFamily(
            "ai102_spans", "Spans of this process that a collector took, and that were dropped.", labels=["outcome"]
        )
        family.add_metric(["sent"], counts.sent)
        family.add_metric(["dropped"], counts.dropped)
        yield family
