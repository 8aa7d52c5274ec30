"""Counts the requests of an ASGI application by route and status, and answers GET /metrics."""

from __future__ import annotations

import time
from collections.abc import Collection

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/metrics"
# The route of every path that the application does not have: no caller can make a time series.
OTHER = "other"
# The caller was gone before an answer.
GONE = 499
BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Counted:
    """Stands before the whole application. `routes`: its paths; `registry` may hold more than is counted here.

    A request that came through the gateway gets the application's own answer to /metrics: those are for Prometheus.
    """

    def __init__(self, app: ASGIApp, routes: Collection[str], registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        self._app, self._routes = app, frozenset(routes)
        self._requests = Counter(
            "ai102_http_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "ai102_http_request_duration_seconds", "Time from a request's headers to the end of its answer.",
            ["route"], registry=self.registry, buckets=BOUNDS_S,
        )  # fmt: skip
        self._in_flight = Gauge("ai102_http_in_flight", "Requests under way.", registry=self.registry)
        ProcessCollector(registry=self.registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_forwarded = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
        if scope["path"] == PATH and scope["method"] == "GET" and not is_forwarded:
            answer = Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
            await answer(scope, receive, send)
            return
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, began = GONE, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._in_flight.track_inprogress():
            try:
                await self._app(scope, receive, noting)
            finally:
                # The route's own path, where the application has said which: not one for each id in it.
                path = getattr(scope.get("route"), "path", scope["path"])
                route = path if path in self._routes else OTHER
                self._requests.labels(route, str(status)).inc()
                self._seconds.labels(route).observe(time.perf_counter() - began)
