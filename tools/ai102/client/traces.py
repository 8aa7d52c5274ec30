"""W3C trace context of a client's calls, where opentelemetry-api is installed (`ai102[traces]`); nothing without it.

A call continues the trace that is current in the program, or that of its `traceparent`. Where an SDK is configured, the
call is a client span in it, or begins a trace, and the server gets the span as its parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from ai102.client.calls import with_headers
from ai102.client.errors import InferenceError
from ai102.client.exchange import Attempt, Steps, with_attempts

if TYPE_CHECKING:
    from opentelemetry.trace import Span

NAMES = ("traceparent", "tracestate")

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    IS_INSTALLED = False
else:
    IS_INSTALLED = True
    TRACER = trace.get_tracer("ai102.client")  # of the SDK, whenever one is configured
    W3C = TraceContextTextMapPropagator()


def traced(steps: Steps, verb: str, model: str, options: Mapping[str, Any]) -> Steps:
    """The same steps as one span, which every attempt names to its server as the parent.

    The span's own parent is what `options` name, in `traceparent` or in one of `headers`, or else the current span.
    """
    if not IS_INSTALLED:
        return steps
    parent = _parent_in(options)
    context = W3C.extract(parent) if parent else None
    # Without an SDK, TRACER returns the parent or the current span, which is invalid where there is none.
    span = TRACER.start_span(f"{verb} {model}".rstrip(), context, kind=trace.SpanKind.CLIENT)
    return _traced(steps, span, model) if span.get_span_context().is_valid else steps


def _traced(steps: Steps, span: Span, model: str) -> Steps:
    try:
        ours: dict[str, str] = {}
        W3C.inject(ours, trace.set_span_in_context(span))
        if span.is_recording() and model:
            span.set_attribute("ai102.model", model)
        return (yield from _marked(steps, ours, span))
    except InferenceError as err:
        span.set_attribute("error.type", type(err).__name__)
        span.set_status(trace.StatusCode.ERROR, str(err))
        raise
    finally:
        span.end()


def _marked(steps: Steps, ours: Mapping[str, str], span: Span) -> Steps:
    """The steps with our headers in their calls, and in the span which server was asked and how often."""
    tries = count(1)

    def marked(attempt: Attempt) -> Attempt:
        span.set_attribute("server.address", attempt.address)
        span.set_attribute("ai102.tries", next(tries))
        return _with_headers(attempt, ours)

    return with_attempts(steps, marked)


def _with_headers(attempt: Attempt, ours: Mapping[str, str]) -> Attempt:
    if not ours:
        return attempt
    kept = {name: value for name, value in attempt.call.headers.items() if name.lower() not in NAMES}
    return attempt._replace(call=with_headers(attempt.call, {**kept, **ours}))


def _parent_in(options: Mapping[str, Any]) -> dict[str, str]:
    """The headers of trace context that a call is given, by their names in lower case."""
    if not options.get("headers") and not options.get("traceparent"):
        return {}
    given = {name.lower(): value for name, value in (options.get("headers") or {}).items()}
    if options.get("traceparent"):
        given["traceparent"] = options["traceparent"]
    return {name: given[name] for name in NAMES if name in given} if "traceparent" in given else {}
