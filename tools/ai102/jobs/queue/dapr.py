"""A queue behind a Dapr sidecar: its pub/sub component may be Redis, Kafka or any other broker.

Each priority is a topic. Notices are published in bulk to daprd's HTTP API, and daprd brings them in bulk to a small
HTTP server here (Dapr's pub/sub API, version 1.18).
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ai102.errors import UserError
from ai102.host.listen import tcp_listener
from ai102.jobs.job import JobsError, Priority
from ai102.jobs.ledger.ledger import Notice
from ai102.jobs.queue.ordered import Turns
from ai102.jobs.queue.queue import Take

PUBSUB = "ai102-jobs"
TIMEOUT_S = 10.0
# Of one bulk call: daprd's default limit of a body is 4 MB.
MOST = 1000
# How long daprd gathers notices before it brings a smaller bulk.
GATHER_MS = 5
AGAIN_S = 0.5
# A sidecar that started without its broker never gets it: it is asked to end, for whoever runs it starts it again.
LOOK_S = 10.0
END_AT_MOST_EVERY_S = 60.0


class _Server(uvicorn.Server):
    """Leaves signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DaprQueue:
    """Belongs to one event loop."""

    def __init__(self, sidecar: str, *, listen: str = "", pubsub: str = PUBSUB) -> None:
        """`sidecar`: daprd's HTTP API, http://HOST:PORT. `listen`: where it brings notices to a consumer, HOST:PORT."""
        self._sidecar = sidecar.rstrip("/")
        self._listen = listen
        self._pubsub = pubsub
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=16))
        self._asked_to_end_at = float("-inf")

    async def publish(self, notices: Sequence[Notice]) -> None:
        by_priority: dict[Priority, list[str]] = {}
        for notice in notices:
            by_priority.setdefault(notice.priority, []).append(notice.id)
        for priority, ids in sorted(by_priority.items()):
            for at in range(0, len(ids), MOST):
                await self._publish(priority, ids[at : at + MOST])

    async def consume(self, take: Take, most: int) -> None:
        """Raises UserError when nobody may listen at the address."""
        if not self._listen:
            raise UserError("a worker behind Dapr needs an address where the sidecar brings it jobs: --app HOST:PORT")
        is_over = asyncio.Event()
        listener = tcp_listener(self._listen, backlog=64, named="--app")
        looking = asyncio.create_task(self._look())
        try:
            config = uvicorn.Config(
                self._application(take, most, is_over),
                log_level="error",
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
            )
            server = _Server(config)
            try:
                await server.serve(sockets=[listener])
            finally:
                is_over.set()
                # What a sidecar brings on a connection that stayed open would reach nobody.
                server.force_exit = True
                await server.shutdown([listener])
        finally:
            looking.cancel()
            listener.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def _publish(self, priority: Priority, ids: Sequence[str]) -> None:
        entries = [{"entryId": str(place), "event": id, "contentType": "text/plain"} for place, id in enumerate(ids)]
        url = f"{self._sidecar}/v1.0-alpha1/publish/bulk/{self._pubsub}/{topic_of(priority)}?metadata.rawPayload=true"
        try:
            answer = await self._client.post(
                url, content=json.dumps(entries), headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as err:
            raise JobsError(f"the sidecar {self._sidecar}: {err or type(err).__name__}") from err
        if answer.status_code == httpx.codes.NOT_FOUND:
            await self._end_without_broker()
        if answer.status_code >= 300:
            raise JobsError(f"the sidecar {self._sidecar} does not take jobs: {answer.text[:200]}")

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._end_without_broker()

    async def _end_without_broker(self) -> None:
        """Ask a sidecar that runs without its broker to end."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_to_end_at < END_AT_MOST_EVERY_S:
            return
        try:
            healthy = await self._client.get(f"{self._sidecar}/v1.0/healthz/outbound")
            known = await self._client.get(f"{self._sidecar}/v1.0/metadata")
            if healthy.is_success and known.is_success and not _has(known.json(), self._pubsub):
                self._asked_to_end_at = now
                await self._client.post(f"{self._sidecar}/v1.0/shutdown")
        except (httpx.HTTPError, ValueError):
            return

    def _application(self, take: Take, most: int, is_over: asyncio.Event) -> Starlette:
        turns = Turns()
        subscriptions = [
            {
                "pubsubname": self._pubsub,
                "topic": topic_of(priority),
                "route": f"/{topic_of(priority)}",
                "metadata": {"rawPayload": "true"},
                "bulkSubscribe": {"enabled": True, "maxMessagesCount": most, "maxAwaitDurationMs": GATHER_MS},
            }
            for priority in Priority
        ]

        async def subscribe(request: Request) -> Response:
            return JSONResponse(subscriptions)

        def route(priority: Priority) -> Route:
            async def brought(request: Request) -> Response:
                entries = (await request.json())["entries"]
                notices = [Notice(b64decode(entry["event"]).decode(), priority) for entry in entries]
                if is_over.is_set():
                    return Response(status_code=503)  # it is brought again, to another worker
                async with turns.turn(priority):
                    # A sidecar keeps the size that it was given by the worker that came first.
                    for at in range(0, len(notices), most):
                        await _taken(take, notices[at : at + most])
                return JSONResponse(
                    {"statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in entries]}
                )

            return Route(f"/{topic_of(priority)}", brought, methods=["POST"])

        async def healthy(request: Request) -> Response:
            return Response(status_code=200)

        return Starlette(
            routes=[Route("/dapr/subscribe", subscribe), Route("/healthz", healthy), *map(route, Priority)]
        )


async def _taken(take: Take, notices: Sequence[Notice]) -> None:
    """Until they are: what is given back to a broker may come again much later."""
    while True:
        try:
            await take(notices)
        except JobsError:
            await asyncio.sleep(AGAIN_S)
        else:
            return


def _has(metadata: Any, component: str) -> bool:
    """Whether the sidecar has loaded a component of that name."""
    return any(one.get("name") == component for one in metadata.get("components", []))


def topic_of(priority: Priority) -> str:
    return f"jobs-{priority.name.lower()}"
