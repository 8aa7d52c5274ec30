"""A span, and many of them as one request of the OpenTelemetry protocol in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

Value = str | int | float | bool


class Kind(IntEnum):
    """The protocol's numbers for what a span is of."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Status(IntEnum):
    """The protocol's numbers for how it ended."""

    UNSET = 0
    ERROR = 2


@dataclass(frozen=True)
class Span:
    """A part of a trace; times are nanoseconds since 1970, and `error` is empty where it went well."""

    trace_id: str
    span_id: str
    parent_id: str  # empty: the trace begins here
    name: str
    began_ns: int
    ended_ns: int
    kind: Kind = Kind.SERVER
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""


def request_from_spans(spans: Sequence[Span], resource: Mapping[str, Value]) -> dict[str, Any]:
    """ExportTraceServiceRequest of OTLP 1.0; `resource` says whose the spans are, service.name among it."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [{"scope": {"name": "ai102"}, "spans": [_span(span) for span in spans]}],
            }
        ]
    }


def _span(span: Span) -> dict[str, Any]:
    status = {"code": int(Status.ERROR), "message": span.error} if span.error else {"code": int(Status.UNSET)}
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.began_ns),  # numbers of 64 bits are strings in protobuf's JSON
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _attributes(span.attributes),
        "status": status,
    }


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": value}
