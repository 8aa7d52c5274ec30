"""Metrics of jobs for Prometheus: what waits, by the ledger; what was accepted and what ended, by each process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ai102.jobs.job import Ended, State
from ai102.jobs.ledger.reads import Waiting

ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class WaitingJobs(Collector):
    """What the ledger last said; every process that reads one ledger says the same, so take the largest."""

    def __init__(self, waiting: Callable[[], Waiting | None], unfetched: Callable[[], int]) -> None:
        self._waiting = waiting
        self._unfetched = unfetched

    def collect(self) -> Iterator[Metric]:
        waiting = self._waiting()
        if waiting is None:
            return
        queued = GaugeMetricFamily("ai102_jobs_queued", "Jobs that wait to be begun.", labels=["priority"])
        oldest = GaugeMetricFamily(
            "ai102_jobs_oldest_queued_seconds", "Age of the job that waits longest; 0 without one.", labels=["priority"]
        )
        for priority, (count, age_s) in waiting.queued.items():
            queued.add_metric([priority.name.lower()], count)
            oldest.add_metric([priority.name.lower()], age_s)
        yield queued
        yield oldest
        yield GaugeMetricFamily("ai102_jobs_running", "Jobs in the hands of workers.", waiting.running)
        yield GaugeMetricFamily("ai102_jobs_dead", "Jobs on the dead-letter list.", waiting.dead)
        yield GaugeMetricFamily(
            "ai102_jobs_unfetched",
            "Answers that nobody has fetched and that are removed within an hour.",
            self._unfetched(),
        )


class WorkerMetrics:
    """Of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ended = Counter("ai102_jobs_ended", "Jobs that ended here.", ["model", "state"], registry=self.registry)
        self._given_back = Counter(
            "ai102_jobs_given_back", "Attempts at jobs that failed through no fault of their input.", ["model"],
            registry=self.registry,
        )  # fmt: skip
        self._taken_up = Counter(
            "ai102_jobs_taken_up", "Jobs that a queue or a worker had lost.", registry=self.registry
        )
        self._items = Histogram(
            "ai102_jobs_call_items", "Jobs in a call to Triton.", ["model"], buckets=ITEMS, registry=self.registry
        )
        self._age = Histogram(
            "ai102_jobs_begun_after_seconds", "From accepted to begun.", ["model"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._in_hand = Gauge("ai102_jobs_in_hand", "Jobs claimed and not ended.", registry=self.registry)
        self._polite = Gauge("ai102_jobs_polite", "1 while direct calls go first.", registry=self.registry)

    def ended(self, model: str, ended: Sequence[Ended]) -> None:
        by_state: dict[State, int] = {}
        for one in ended:
            by_state[one.state] = by_state.get(one.state, 0) + 1
        for state, count in by_state.items():
            self._ended.labels(model, state.value).inc(count)

    def given_back(self, model: str, count: int) -> None:
        self._given_back.labels(model).inc(count)

    def taken_up(self, count: int) -> None:
        self._taken_up.inc(count)

    def called(self, model: str, ages_s: Sequence[float]) -> None:
        """A call to Triton begins, with a job for each of the ages."""
        self._items.labels(model).observe(len(ages_s))
        age = self._age.labels(model)
        for age_s in ages_s:
            age.observe(age_s)

    def holds(self, count: int, *, is_polite: bool) -> None:
        self._in_hand.set(count)
        self._polite.set(is_polite)
