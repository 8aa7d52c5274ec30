"""What is wrong with a pipeline, model or replica, in a word and a sentence; rules from the worst to the mildest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from ai102.top.reading import Model, Pipeline, Reading, Replica

# Without a goal in the contract.
SUCCESS_GOAL = 0.99
# Of the measured capacity: beyond it a burst leaves the latency goal.
FULL = 0.9
MOSTLY = 0.5
# A shorter wait is a batch that forms.
LONG_WAIT_S = 0.01

BROKEN, BAD, UNUSUAL, GOOD, QUIET = range(5)


class State(NamedTuple):
    """`rank` 0 is the worst; `why` is empty where all is well."""

    rank: int
    word: str
    why: str = ""

    @property
    def is_wrong(self) -> bool:
        return self.rank <= BAD


class Judged(NamedTuple):
    """A reading with the state of each part, the worst first."""

    reading: Reading
    pipelines: tuple[tuple[Pipeline, State], ...]
    models: tuple[tuple[Model, State], ...]
    replicas: tuple[tuple[Replica, State], ...]

    @property
    def wrong(self) -> list[str]:
        """One sentence for each thing that is wrong, the worst first."""
        parts: list[tuple[State, str]] = [(State(BROKEN, "no answer"), line) for line in self.reading.problems]
        for kind, rows in (("replica", self.replicas), ("pipeline", self.pipelines), ("model", self.models)):
            parts += [(state, f"{kind} {part.name}: {state.why}") for part, state in rows if state.is_wrong]
        if (self.reading.capacity_used or 0) >= FULL:
            used = share(self.reading.capacity_used or 0)
            parts.append((State(BAD, "full"), f"{used} of the replicas' measured capacity is used"))
        parts += [(State(BAD, "fires"), f"alert {alert}") for alert in self.reading.alerts or ()]
        return [line for _, line in sorted(parts, key=lambda part: part[0].rank)]


def judged(reading: Reading) -> Judged:
    return Judged(
        reading,
        _worst_first(reading.pipelines, of_pipeline),
        _worst_first(reading.models, of_model),
        _worst_first(reading.replicas, of_replica),
    )


def of_pipeline(pipeline: Pipeline) -> State:
    success_goal = SUCCESS_GOAL if pipeline.success_goal is None else pipeline.success_goal
    if pipeline.success is not None and pipeline.success < success_goal:
        return State(
            BROKEN, "failing", f"{share(1 - pipeline.success)} of its calls fail, {share(1 - success_goal)} may"
        )
    if pipeline.p99_s is not None and pipeline.p99_goal_s is not None and pipeline.p99_s > pipeline.p99_goal_s:
        return State(BAD, "slow", f"p99 is {time(pipeline.p99_s)}, the goal {time(pipeline.p99_goal_s)}")
    if pipeline.refused is not None and pipeline.refused > MOSTLY:
        return State(UNUSUAL, "refused", f"{share(pipeline.refused)} of its calls are refused")
    return State(GOOD, "ok") if pipeline.rate or pipeline.in_flight else State(QUIET, "idle")


def of_model(model: Model) -> State:
    if model.waiting and model.progress == 0:
        return State(BROKEN, "stuck", f"{model.waiting:g} requests wait and none is computed")
    if model.failures > 0:
        return State(BROKEN, "failing", f"{number(model.failures)} requests a second fail in Triton")
    queue_share, mean_s = model.queue_share or 0, model.mean_s or 0
    if queue_share > MOSTLY and queue_share * mean_s > LONG_WAIT_S:
        return State(BAD, "queueing", f"requests wait {time(queue_share * mean_s)}, {share(queue_share)} of their time")
    return State(GOOD, "ok") if model.rate or model.in_flight else State(QUIET, "idle")


def of_replica(replica: Replica) -> State:
    if replica.is_up is False:
        return State(BROKEN, "down", "the gateway's checks fail, it gets no requests")
    if replica.answers is False:
        return State(BAD, "silent", "its metrics do not answer")
    if replica.is_drained:
        return State(UNUSUAL, "drained", "it was taken out and gets nothing new")
    return State(GOOD, "up")


def share(ratio: float) -> str:
    """A percentage with two digits that count."""
    percent = ratio * 100
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def success(ratio: float) -> str:
    """A percentage that shows the last failures: 99.99 % is not 100 %."""
    return "100 %" if ratio >= 1 else f"{math.floor(ratio * 10000) / 100:.2f} %"


def time(seconds: float) -> str:
    """Three digits at most, and the unit."""
    if seconds < 1e-3:
        return f"{number(seconds * 1e6)} us"
    return f"{number(seconds * 1e3)} ms" if seconds < 1 else f"{number(seconds)} s"


def number(value: float) -> str:
    """Three digits at most, without an exponent."""
    return (
        f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.1f}" if value >= 10 else f"{value:.2g}"
    )


_Part = TypeVar("_Part", Pipeline, Model, Replica)


def _worst_first(parts: Iterable[_Part], state_of: Callable[[_Part], State]) -> tuple[tuple[_Part, State], ...]:
    rows: Sequence[tuple[_Part, State]] = [(part, state_of(part)) for part in parts]
    return tuple(sorted(rows, key=lambda row: (row[1].rank, -(row[0].rate or 0), row[0].name)))
