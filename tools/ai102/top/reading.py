"""One reading of everything that `ai102 top` shows; None stands for what the source does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Goal(NamedTuple):
    """What callers of a pipeline are promised: the share of calls that succeed, and p99 in seconds."""

    success: float
    p99_s: float


@dataclass(frozen=True)
class Pipeline:
    """What callers of one pipeline get at the gateway. Rates are per second, times in seconds, shares from 0 to 1."""

    name: str
    rate: float = 0.0  # requests, whatever became of them
    success: float | None = None  # of the requests that the caller did not spoil
    refused: float | None = None  # share of all: no right, over a limit, a mistake of the caller
    p50_s: float | None = None
    p99_s: float | None = None
    in_flight: float | None = None
    capacity_used: float | None = None
    success_goal: float | None = None
    p99_goal_s: float | None = None


@dataclass(frozen=True)
class Model:
    """What one model does inside Triton, all replicas together."""

    name: str
    rate: float = 0.0  # inferences: a request with a batch of 8 counts 8 times
    executions: float = 0.0
    mean_s: float | None = None
    p99_s: float | None = None  # the worst replica's, where Triton runs with summary_latencies
    queue_share: float | None = None
    in_flight: float | None = None  # on average
    waiting: float | None = None  # in the queue at this moment
    failures: float = 0.0  # requests, without those that their callers cancelled
    progress: float | None = None  # executions too, over the last seconds alone

    @property
    def batch(self) -> float | None:
        return self.rate / self.executions if self.executions else None


@dataclass(frozen=True)
class Replica:
    """One tritonserver, as the gateway sees it and as its metrics answer."""

    name: str
    is_up: bool | None = None  # the gateway's health checks
    is_drained: bool | None = None
    in_flight: float | None = None
    rate: float | None = None  # inferences
    answers: bool | None = None  # its metrics


@dataclass(frozen=True)
class Reading:
    """All of it at one moment.

    `problems`: servers that do not answer, one line each. `notes`: what is not shown, and why.
    """

    source: str
    at_s: float  # since 1970
    window_s: float  # rates are over so long
    pipelines: tuple[Pipeline, ...] = ()
    models: tuple[Model, ...] = ()
    replicas: tuple[Replica, ...] = ()
    capacity_used: float | None = None  # by all pipelines together
    alerts: tuple[str, ...] | None = None  # that fire; None: the source has none
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
