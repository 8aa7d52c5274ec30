"""Jobs as parts of their callers' traces: a span from accepted to ended, with the wait and the work below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ai102.jobs.job import Claimed, Ended
from ai102.tracing.context import Context, context_from, new_span_id
from ai102.tracing.spans import Kind, Span, Value

NS = 1e9


class Traced(NamedTuple):
    """A job whose trace is sampled, and the ids of its spans."""

    job: Claimed
    caller: Context
    whole: str
    work: str


def traced_of(batch: Iterable[Claimed]) -> list[Traced]:
    """Those of the jobs whose caller's trace is sampled."""
    callers = ((job, context_from(job.traceparent)) for job in batch)
    return [
        Traced(job, caller, new_span_id(), new_span_id()) for job, caller in callers if caller and caller.is_sampled
    ]


def traceparent_of(traced: Sequence[Traced]) -> str:
    """For Triton, which can be part of one trace only: that of the first job."""
    if not traced:
        return ""
    return Context(traced[0].caller.trace_id, traced[0].work, is_sampled=True).traceparent


def spans_of(
    traced: Sequence[Traced], ended: Mapping[str, Ended], began_s: float, ended_s: float, size: int
) -> list[Span]:
    """The spans of a call to Triton with `size` jobs; jobs that have not ended by it have the attempt alone."""
    return [span for one in traced for span in _spans(one, ended.get(one.job.id), began_s, ended_s, size)]


def _spans(traced: Traced, ended: Ended | None, began_s: float, ended_s: float, size: int) -> Iterable[Span]:
    job, caller = traced.job, traced.caller
    began_ns, ended_ns = round(began_s * NS), round(ended_s * NS)
    attributes: dict[str, Value] = {
        "ai102.job.id": job.id,
        "ai102.job.attempts": job.attempts,
        "ai102.model": job.model,
    }
    error = "tried again" if ended is None else ended.error
    yield Span(
        caller.trace_id, traced.work, traced.whole if ended else caller.span_id, "job work", began_ns, ended_ns,
        Kind.CLIENT, {**attributes, "ai102.job.batch": size}, error,
    )  # fmt: skip
    if ended is None:
        return
    accepted_ns = round(job.accepted_s * NS)
    yield Span(
        caller.trace_id, new_span_id(), traced.whole, "job wait", accepted_ns, began_ns, Kind.INTERNAL, attributes
    )
    yield Span(
        caller.trace_id, traced.whole, caller.span_id, f"job {job.model}", accepted_ns, ended_ns, Kind.INTERNAL,
        {**attributes, "ai102.job.state": ended.state.value}, error,
    )  # fmt: skip


AddSpan = Callable[[Span], None]
