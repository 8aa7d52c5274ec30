"""Rows of the gateway's access log as spans: of the calls that were sampled, that failed, and that were slow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ai102.access_log.outcomes import FOLLOWING
from ai102.tracing.context import new_span_id, new_trace_id
from ai102.tracing.spans import Span, Value

# What can be seen of a row without parsing it. No caller can write these: quotes within a value are escaped.
GLANCE = re.compile(rb'"status":(-?\d+),"grpc_status":(\w+),.*?"milliseconds":\{[^}]*"all":(-?\d+|null)')
SAMPLED = b'"sampled":true'
END = b'"end":"'
# How HAProxy ends what it could not finish: by the caller, the server, a limit of its own, or a defect.
CUT = b"CcSsRI"
# gRPC's statuses that say that the service failed: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
GRPC_ERRORS = frozenset({2, 4, 13, 14, 15})
CLIENT_CLOSED = 499
# The caller left, or sent its request too slowly.
UNFINISHED = frozenset({408, CLIENT_CLOSED})
# Too many calls are refused by their number; a span for each would be too many of those.
LIMITED_REST, LIMITED_GRPC = 429, 8


class Rows:
    """Gives `add` a span for each row that is worth one.

    What is no row is counted as unreadable: whoever calls this must go on reading, or the proxy would stand still.
    """

    def __init__(self, add: Callable[[Span], None], slow_ms: int) -> None:
        self._add, self.slow_ms = add, slow_ms
        self.unreadable = 0

    def take(self, lines: bytes) -> None:
        """Whole lines of the log."""
        for line in lines.splitlines():
            if not self._is_worth_a_look(line):
                continue
            try:
                span = span_from_row(json.loads(line), self.slow_ms)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.unreadable += 1
                continue
            if span is not None:
                self._add(span)

    def _is_worth_a_look(self, line: bytes) -> bool:
        """For a tenth of what it costs to parse a row."""
        if SAMPLED in line:
            return True
        if (glance := GLANCE.search(line)) is None:
            return False
        status, grpc_status, all_ms = glance.groups()
        if status[:1] != b"2" or grpc_status not in (b"0", b"null"):
            return True
        end = line.find(END, glance.end())
        return (end >= 0 and line[end + len(END)] in CUT) or (all_ms != b"null" and int(all_ms) >= self.slow_ms)


def span_from_row(row: Mapping[str, Any], slow_ms: int) -> Span | None:
    """The gateway's span of a call; None when the call leaves none.

    A call leaves one when it was sampled, when it took `slow_ms`, when the service failed, and when a caller who is
    known was not answered as asked. What strangers are refused, and what is over a caller's limit, is left to log and
    metrics. Who follows jobs may wait, and leave, as it likes.
    Raises KeyError, TypeError or AttributeError for what is no row.
    """
    error = _error(row)
    follows = row["verb"] == FOLLOWING
    if follows and (row.get("end", "-").startswith("C") or row["status"] == CLIENT_CLOSED):
        return None
    is_slow = not follows and (row["milliseconds"]["all"] or 0) >= slow_ms
    if not (row["sampled"] is True or is_slow or error or _is_refused_to_a_known_caller(row)):
        return None
    if not row["began_us"]:
        return None  # no request that could be read, or it began while no traces were wanted
    return Span(
        trace_id=row["trace_id"] or new_trace_id(),
        span_id=row["span_id"] or new_span_id(),
        parent_id=row["parent_id"],
        name=" ".join(word for word in (row["verb"] or row["method"], row["model"]) if word),
        began_ns=row["began_us"] * 1000,
        ended_ns=max(row["ended_us"], row["began_us"]) * 1000,
        attributes=_attributes(row, is_slow),
        error=error,
    )


def _error(row: Mapping[str, Any]) -> str:
    """How the service failed, or a known caller's call ended unfinished; empty when neither."""
    status, grpc_status = row["status"], row["grpc_status"]
    if status >= 500:
        return row["refused"] or f"HTTP {status}"
    if grpc_status in GRPC_ERRORS:
        return row["refused"] or f"gRPC status {grpc_status}"
    is_cut = row.get("end", "-").encode()[0] in CUT
    if row["subject"] and (is_cut or status < 100 or status in UNFINISHED):
        return row["refused"] or "ended unfinished"
    return ""


def _is_refused_to_a_known_caller(row: Mapping[str, Any]) -> bool:
    status, grpc_status = row["status"], row["grpc_status"] or 0
    if status == LIMITED_REST or grpc_status == LIMITED_GRPC or not row["subject"]:
        return False
    return status >= 400 or grpc_status != 0


def _attributes(row: Mapping[str, Any], is_slow: bool) -> dict[str, Value]:
    """Not who called, nor from where: the row with this request id says that, to those who may read the log."""
    values = {
        "ai102.request_id": row.get("id"),
        "ai102.protocol": row["protocol"],
        "ai102.model": row["model"],
        "ai102.version": row["version"],
        "ai102.replica": row["replica"],
        "ai102.refused": row["refused"],
        "ai102.slow": is_slow or None,
        "http.request.method": row["method"],
        "http.response.status_code": row["status"],
        "rpc.grpc.status_code": row["grpc_status"],
        "ai102.bytes_in": row["bytes_in"],
        "ai102.bytes_out": row["bytes_out"],
        "ai102.retries": row.get("retries"),
        **{f"ai102.milliseconds.{part}": value for part, value in row["milliseconds"].items()},
    }
    return {key: value for key, value in values.items() if value not in (None, "")}
