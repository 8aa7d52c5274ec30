"""Run the API under uvicorn until a signal stops it; calls in flight are finished first."""

from __future__ import annotations

import math
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from ai102.api.app import JobsHere, application
from ai102.api.limits import Limits
from ai102.api.protocol import BoundedProtocol
from ai102.api.triton import Choice
from ai102.client import AsyncClient
from ai102.contract.answers import Asked
from ai102.contract.served import ServedModel
from ai102.host.listen import tcp_listener, url_of
from ai102.jobs.metrics import WaitingJobs
from ai102.jobs.service import Options, taking
from ai102.tracing.counted import SpanCounts
from ai102.tracing.exporter import Exporter, exporter_for

KEEP_ALIVE_S = 75  # longer than a proxy in front keeps its own idle connections
BACKLOG = 1024


class JobsAsked(NamedTuple):
    """Jobs to take beside the direct calls, for these models by name."""

    options: Options
    models: Mapping[str, ServedModel]


def serve(
    listen: str,
    server: Choice,
    asked: Asked,
    limits: Limits,
    log: Callable[[str], None],
    say: Callable[[str], None],
    log_config: dict[str, Any] = LOGGING_CONFIG,
    collector: str = "",
    mask: Callable[[str], str] = str,
    jobs: JobsAsked | None = None,
) -> None:
    """Answer on `listen` (HOST:PORT, port 0: any free one) from the Triton of `server`; returns after Ctrl-C or TERM.

    `log` gets a line for each request, `log_config` is for uvicorn's own log, which tells of our defects. `collector`
    gets the spans of sampled requests, after `mask`; empty: there are none.
    Calls in flight then have `limits.deadline_s` to finish. Raises UserError when the address cannot be listened on.
    """
    listener = tcp_listener(listen, backlog=BACKLOG, named="--listen")
    try:
        with exporter_for("api", collector, say, mask) as exporter:
            uvloop.run(_run(listener, server, asked, limits, log, say, log_config, exporter, jobs))
    finally:
        listener.close()


async def _run(
    listener: socket.socket,
    server: Choice,
    asked: Asked,
    limits: Limits,
    log: Callable[[str], None],
    say: Callable[[str], None],
    log_config: dict[str, Any],
    exporter: Exporter | None,
    jobs: JobsAsked | None,
) -> None:
    registry = CollectorRegistry()
    if exporter:
        registry.register(SpanCounts(lambda: exporter.counts))
    add_span = exporter.add if exporter else None
    # Shared memory would tie the answers to one server, and behind the gateway no caller may use Triton's.
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(
            AsyncClient(server.url, timeout_s=limits.deadline_s, shared_memory=False)
        )
        here = JobsHere(await opened.enter_async_context(taking(jobs.options, say)), jobs.models) if jobs else None
        if here:
            registry.register(WaitingJobs(lambda: here.jobs.waiting.last, lambda: here.jobs.waiting.unfetched))
        asgi = application(asked, client, limits, log, add_span, registry, here).asgi
        why = f", {server.why}" if server.why else ""
        service = uvicorn.Server(config_for(asgi, limits, log_config))
        with _stopped_by_signals(service):
            say(f"ready: {url_of(listener)} asks {server.url}{why} (Ctrl-C stops it)")
            await service.serve(sockets=[listener])


@contextmanager
def _stopped_by_signals(service: uvicorn.Server) -> Iterator[None]:
    """Also before uvicorn listens to signals, and when it raises a signal again after it has stopped."""

    def stop(number: int, frame: object) -> None:
        service.should_exit = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def config_for(asgi: ASGIApp, limits: Limits, log_config: dict[str, Any] = LOGGING_CONFIG) -> uvicorn.Config:
    """How uvicorn runs the application: its own log tells of our defects alone, and it waits for calls in flight."""
    return uvicorn.Config(
        asgi,
        log_config=log_config,
        log_level="error",
        access_log=False,
        server_header=False,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(limits.deadline_s) + 1,
        backlog=BACKLOG,
    )
