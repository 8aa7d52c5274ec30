"""What holds for every request: its id, its line in the access log, and headers of every answer."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai102.tracing.context import Context, context_from, new_span_id
from ai102.tracing.spans import Span

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# The caller was gone before the answer; nginx's word for it.
GONE = 499
EVERYWHERE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Edge:
    """Stands before the whole application.

    Sets `request_id` and `traceparent` in the request's state, and hands `log` one line of JSON for each request: who,
    what, how it went; nothing of what was sent or answered.

    `traceparent` is what Triton gets. It is empty unless the caller's trace is sampled, since Triton traces every
    request that has one. With `add_span` such a request leaves a span, of which Triton's spans are children.
    """

    def __init__(
        self, app: ASGIApp, log: Callable[[str], None], add_span: Callable[[Span], None] | None = None
    ) -> None:
        self._app = app
        self._log = log
        self._add_span = add_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, began_ns = time.perf_counter(), time.time_ns()
        headers = Headers(scope=scope)
        request_id = _only(headers.getlist("x-request-id"), REQUEST_ID) or secrets.token_hex(8)
        caller = _only_context(headers.getlist("traceparent"))
        is_sampled = caller is not None and caller.is_sampled
        span_id = new_span_id() if is_sampled and self._add_span else ""
        scope.setdefault("state", {}).update(request_id=request_id, traceparent=_traceparent(caller, span_id))
        status, received, sent = 0, 0, 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def marking_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = request_id
                for name, value in EVERYWHERE.items():
                    answer[name] = value
                answer.setdefault("Cache-Control", "no-store")
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counting_receive, marking_send)
        finally:
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request_id": request_id,
                "trace_id": caller.trace_id if caller else "",
                "user": headers.get("x-user", "")[:128],
                "method": scope["method"][:16],
                "route": _route(scope),
                "status": status or GONE,
                "bytes_in": received,
                "bytes_out": sent,
                "ms": round((time.perf_counter() - began) * 1000, 3),
            }
            self._log(json.dumps(line))
            if caller and span_id and self._add_span:
                self._add_span(_span(caller, span_id, began_ns, line))


def _only(values: Iterable[str], form: re.Pattern[str]) -> str:
    """The one value, if it has the form."""
    texts = list(values)
    return texts[0] if len(texts) == 1 and form.fullmatch(texts[0]) else ""


def _only_context(values: Sequence[str]) -> Context | None:
    return context_from(values[0]) if len(values) == 1 else None


def _traceparent(caller: Context | None, span_id: str) -> str:
    if caller is None or not caller.is_sampled:
        return ""
    return Context(caller.trace_id, span_id or caller.span_id, is_sampled=True).traceparent


def _span(caller: Context, span_id: str, began_ns: int, line: Mapping[str, Any]) -> Span:
    """The API's span of a request; `line` is its row of the log."""
    status = int(line["status"])
    return Span(
        trace_id=caller.trace_id,
        span_id=span_id,
        parent_id=caller.span_id,
        name=f"{line['method']} {line['route']}",
        began_ns=began_ns,
        ended_ns=began_ns + round(line["ms"] * 1e6),
        attributes={
            "ai102.request_id": line["request_id"],
            "http.request.method": line["method"],
            "http.route": line["route"],
            "http.response.status_code": status,
            "ai102.bytes_in": line["bytes_in"],
            "ai102.bytes_out": line["bytes_out"],
        },
        error=f"HTTP {status}" if status >= 500 or status == GONE else "",
    )


def _route(scope: Scope) -> str:
    """The route's own path; what a caller made up is not logged."""
    route = scope.get("route")
    return str(getattr(route, "path", "")) or "unknown"
