"""A reading out of what the gateway's exporter and each Triton expose: two scrapes give rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ai102.prometheus.api import Labels
from ai102.prometheus.exposition import Scrape, scraped
from ai102.prometheus.fetching import NoAnswerError
from ai102.prometheus.quantiles import quantile
from ai102.top.figures import models_from_figures, pipelines_from_figures, replicas_from_figures
from ai102.top.reading import Goal, Reading
from ai102.top.scrapes import Span, Window, buckets, summed

TIMEOUT_S = 2.0
# A model that computes nothing for so long while requests wait does not only take its time.
NO_PROGRESS_S = 5.0
REQUESTS = "ai102_gateway_requests_total"
BUCKETS = "ai102_gateway_request_duration_seconds_bucket"
SPOILT = ("refused", "limited", "client_error")  # by the caller
MODEL_COUNTERS = {
    "rate": "nv_inference_count",
    "executions": "nv_inference_exec_count",
    "requests": "nv_inference_request_success",
    "busy_us": "nv_inference_request_duration_us",
    "queue_us": "nv_inference_queue_duration_us",
}
FAILURES, WAITING = "nv_inference_request_failure", "nv_inference_pending_request_count"
SUMMARY = "nv_inference_request_summary_us"
REPLICA_GAUGES = {
    "is_up": "ai102_gateway_replica_up",
    "is_drained": "ai102_gateway_replica_drained",
    "in_flight": "ai102_gateway_replica_in_flight",
}

Rows = dict[str, dict[str, float]]


class Process(NamedTuple):
    """What exposes metrics: the name in a reading, and the address of its metrics."""

    name: str
    address: str


class Scraping:
    """The gateway's exporter, if there is one, and any number of Tritons, scraped again and again."""

    def __init__(self, gateway: Process | None, tritons: Sequence[Process], goals: Mapping[str, Goal]) -> None:
        self._gateway, self._tritons, self._goals = gateway, tuple(tritons), goals
        self._windows = {process: Window() for process in self._all}

    @property
    def _all(self) -> tuple[Process, ...]:
        return (*((self._gateway,) if self._gateway else ()), *self._tritons)

    def read(self) -> Reading:
        """Scrape all once. Raises NoAnswerError where no process answers; rates are there from the second time on."""
        problems = self._scrape()
        spans = {process: window.span for process, window in self._windows.items()}
        seconds = [span.seconds for span in spans.values() if span]
        pipelines, replicas = self._from_gateway(spans)
        models = self._from_tritons(spans, replicas, problems)
        return Reading(
            ", ".join(process.address for process in self._all),
            time.time(),
            max(seconds, default=0.0),
            pipelines_from_figures(pipelines, self._goals),
            models_from_figures(models),
            replicas_from_figures(replicas),
            problems=tuple(problems.values()),
        )

    def _scrape(self) -> dict[Process, str]:
        """Scrape all at once; gives why a process gave nothing."""
        problems: dict[Process, str] = {}
        with ThreadPoolExecutor(max_workers=min(16, len(self._all))) as threads:
            for process, result in zip(self._all, threads.map(_attempt, self._all), strict=True):
                if isinstance(result, NoAnswerError):
                    problems[process] = str(result)
                    self._windows[process].clear()
                else:
                    self._windows[process].add(*result)
        if len(problems) == len(self._all):
            raise NoAnswerError("; ".join(problems.values()))
        return problems

    def _from_gateway(self, spans: Mapping[Process, Span | None]) -> tuple[Rows, Rows]:
        pipelines: Rows = {}
        replicas: Rows = {}
        if self._gateway is None or (newest := self._windows[self._gateway].newest) is None:
            return pipelines, replicas
        _put(pipelines, "in_flight", summed(_values(newest, "ai102_gateway_in_flight"), "pipeline"))
        for figure, name in REPLICA_GAUGES.items():
            _put(replicas, figure, summed(_values(newest, name), "replica"))
        if span := spans[self._gateway]:
            _put(pipelines, "rate", summed(span.rises(REQUESTS), "pipeline"))
            for figure, outcomes in (("ok", ("ok",)), ("failed", ("failed",)), ("refused", SPOILT)):
                _put(pipelines, figure, summed(span.rises(REQUESTS, _has("outcome", outcomes)), "pipeline"))
            for pipeline, histogram in buckets(span.rises(BUCKETS), "pipeline").items():
                for figure, share in (("p50_s", 0.5), ("p99_s", 0.99)):
                    if (seconds := quantile(share, histogram)) is not None:
                        pipelines.setdefault(pipeline, {})[figure] = seconds
        return pipelines, replicas

    def _from_tritons(self, spans: Mapping[Process, Span | None], replicas: Rows, problems: dict[Process, str]) -> Rows:
        """The models' figures; adds to `replicas` what Triton says of itself, and takes its problem into its row."""
        models: Rows = {}
        for process in self._tritons:
            replica = replicas.setdefault(process.name, {})
            replica["answers"] = float(process not in problems)
            problems.pop(process, None)
            newest, span = self._windows[process].newest, spans[process]
            if newest is not None:
                _add(models, "waiting", summed(_values(newest, WAITING), "model"))
                for labels, value in _values(newest, SUMMARY):
                    if labels.get("quantile") == "0.99":
                        row = models.setdefault(labels.get("model", ""), {})
                        row["p99_us"] = max(value, row.get("p99_us", 0.0))
            if span is not None:
                for figure, name in MODEL_COUNTERS.items():
                    _add(models, figure, summed(span.rises(name), "model"))
                _add(models, "failures", summed(span.rises(FAILURES, _is_no_cancellation), "model"))
                if lately := self._windows[process].lately(NO_PROGRESS_S):
                    _add(models, "progress", summed(lately.rises(MODEL_COUNTERS["executions"]), "model"))
                replica["rate"] = sum(value for _, value in span.rises(MODEL_COUNTERS["rate"]))
        return models


def _attempt(process: Process) -> tuple[float, Scrape] | NoAnswerError:
    try:
        scrape = scraped(process.address, TIMEOUT_S)
    except NoAnswerError as err:
        return err
    return time.monotonic(), scrape


def _values(scrape: Scrape, name: str) -> Iterable[tuple[Labels, float]]:
    return ((sample.labels, sample.value) for sample in scrape.of(name))


def _has(label: str, values: Sequence[str]) -> Callable[[Labels], bool]:
    return lambda labels: labels.get(label) in values


def _is_no_cancellation(labels: Labels) -> bool:
    return labels.get("reason") != "CANCELED"


def _put(rows: Rows, figure: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        rows.setdefault(name, {})[figure] = value


def _add(rows: Rows, figure: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        row = rows.setdefault(name, {})
        row[figure] = row.get(figure, 0.0) + value
