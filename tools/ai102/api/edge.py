"""What holds for every request: its id, its line in the access log, and headers of every answer."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# The caller was gone before the answer; nginx's word for it.
GONE = 499
EVERYWHERE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Edge:
    """Stands before the whole application.

    Sets `request_id` and `traceparent` (empty where the caller sent none, or none that W3C allows) in the request's
    state, and hands `log` one line of JSON for each request: who, what, how it went;
    nothing of what was sent or answered.
    """

    def __init__(self, app: ASGIApp, log: Callable[[str], None]) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = _only(headers.getlist("x-request-id"), REQUEST_ID) or secrets.token_hex(8)
        scope.setdefault("state", {}).update(
            request_id=request_id, traceparent=_only(headers.getlist("traceparent"), TRACEPARENT)
        )
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
                "user": headers.get("x-user", "")[:128],
                "method": scope["method"][:16],
                "route": _route(scope),
                "status": status or GONE,
                "bytes_in": received,
                "bytes_out": sent,
                "ms": round((time.perf_counter() - began) * 1000, 3),
            }
            self._log(json.dumps(line))


def _only(values: Iterable[str], form: re.Pattern[str]) -> str:
    """The one value, if it has the form."""
    texts = list(values)
    return texts[0] if len(texts) == 1 and form.fullmatch(texts[0]) else ""


def _route(scope: Scope) -> str:
    """The route's own path; what a caller made up is not logged."""
    route = scope.get("route")
    return str(getattr(route, "path", "")) or "unknown"
