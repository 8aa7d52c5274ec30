"""Rows of JSON: the gateway's access log, the friendly API's, the issuer's audit log, and those of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ai102.access_log.outcomes import UnreadableRowError, call_from_row
from ai102.logs.document import (
    Document,
    Field,
    count,
    keyword,
    milliseconds,
    nanoseconds,
    put,
    put_fields,
    shown,
    text,
)
from ai102.logs.levels import level_of

Row = Mapping[str, Any]
# By pipeline of the contract, the p99 promised in milliseconds: how a call ended depends on it.
GoalsMs = Mapping[str, float]


def _replica(value: Any) -> str | None:
    """HAProxy writes <NOSRV> and the like where no replica was asked."""
    return None if isinstance(value, str) and value.startswith("<") else keyword(value)


def _status(value: Any) -> int | None:
    """0 stands for a connection that brought no request."""
    return count(value) or None


GATEWAY = (
    Field("id", "http.request.id", keyword),
    Field("trace_id", "trace.id", keyword),
    Field("sampled", "labels.sampled", shown),
    Field("protocol", "labels.protocol", keyword),
    Field("address", "client.address", keyword),
    Field("subject", "user.name", keyword),
    Field("verb", "event.action", keyword),
    Field("model", "labels.pipeline", keyword),
    Field("version", "labels.version", keyword),
    Field("method", "http.request.method", keyword),
    Field("status", "http.response.status_code", _status),
    Field("grpc_status", "labels.grpc_status", shown),
    Field("refused", "event.reason", keyword),
    Field("bytes_in", "http.request.bytes", count),
    Field("bytes_out", "http.response.bytes", count),
    Field("milliseconds.all", "event.duration", nanoseconds),
    Field("milliseconds.receive", "ai102.receive_ms", milliseconds),
    Field("milliseconds.gateway", "ai102.gateway_ms", milliseconds),
    Field("milliseconds.connect", "ai102.connect_ms", milliseconds),
    Field("milliseconds.answer", "ai102.answer_ms", milliseconds),
    Field("backend", "labels.backend", keyword),
    Field("replica", "labels.replica", _replica),
    Field("retries", "ai102.retries", count),
    Field("end", "labels.end", keyword),
)
API = (
    Field("request_id", "http.request.id", keyword),
    Field("trace_id", "trace.id", keyword),
    Field("user", "user.name", keyword),
    Field("method", "http.request.method", keyword),
    Field("route", "url.path", keyword),
    Field("status", "http.response.status_code", count),
    Field("bytes_in", "http.request.bytes", count),
    Field("bytes_out", "http.response.bytes", count),
    Field("ms", "event.duration", nanoseconds),
)
AUDIT = (
    Field("request_id", "http.request.id", keyword),
    Field("who", "user.name", keyword),
    Field("what", "event.action", keyword),
    Field("subject", "user.target.name", keyword),
    Field("address", "client.address", keyword),
    Field("reason", "event.reason", keyword),
)
AUDIT_KEYS = {"id", "time", "outcome"} | {field.key for field in AUDIT}
OTHERS = (
    *(Field(key, "message", text) for key in ("message", "msg")),
    *(Field(key, "error.message", text) for key in ("error", "err")),
    *(Field(key, "http.request.id", keyword) for key in ("request_id", "requestId")),
    *(Field(key, "trace.id", keyword) for key in ("trace_id", "traceId")),
    *(Field(key, "log.logger", keyword) for key in ("logger", "caller", "source")),
)
LEVEL_OF_OUTCOME = {"failed": "error", "refused": "warn", "limited": "warn", "client_error": "warn"}


def gateway(row: Row, document: Document, goals_ms: GoalsMs) -> None:
    put_fields(document, GATEWAY, row)
    put(document, "event.category", ["web"])
    try:
        call = call_from_row(row, goals_ms)
    except UnreadableRowError:  # the exporter counts those
        put(document, "event.outcome", "unknown")
        return
    if call is None:  # a connection that brought no request
        return
    _put_outcome(document, call.outcome)
    if call.outcome == "failed":
        code = row.get("grpc_status") if row.get("protocol") == "grpc" else row.get("status")
        put(document, "error.code", shown(code))
        put(document, "error.message", keyword(row.get("refused")) or "the answer failed")


def api(row: Row, document: Document, _: GoalsMs) -> None:
    put_fields(document, API, row)
    put(document, "event.category", ["web"])
    status = row.get("status")
    outcome = "failed"
    if isinstance(status, int) and status < 500:
        outcome = "ok" if status < 400 else "cancelled" if status == 499 else "client_error"
    _put_outcome(document, outcome)
    if outcome == "failed":
        put(document, "error.code", shown(status))


def audit(row: Row, document: Document, _: GoalsMs) -> None:
    put_fields(document, AUDIT, row)
    put(document, "event.category", ["iam"])
    _put_outcome(document, "ok" if row.get("outcome") == "ok" else "refused")
    if detail := {key: value for key, value in row.items() if key not in AUDIT_KEYS}:
        put(document, "message", json.dumps(detail, ensure_ascii=False))


def other(row: Row, document: Document, _: GoalsMs) -> None:
    """A row of a program that we do not know: what most call by these names."""
    put_fields(document, OTHERS, row)
    level = next((row[key] for key in ("level", "severity", "log.level") if isinstance(row.get(key), str)), "")
    put(document, "log.level", level_of(level))
    original = json.dumps(row, ensure_ascii=False)
    put(document, "event.original" if "message" in document else "message", original)


def _put_outcome(document: Document, outcome: str) -> None:
    put(document, "labels.outcome", outcome)
    put(document, "event.outcome", "success" if outcome == "ok" else "unknown" if outcome == "cancelled" else "failure")
    put(document, "log.level", LEVEL_OF_OUTCOME.get(outcome, "info"))
