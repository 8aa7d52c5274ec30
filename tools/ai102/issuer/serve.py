"""Run the issuer until a signal, on an address that is taken before anything else."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from ai102.host.listen import tcp_listener
from ai102.issuer.app import app_for
from ai102.issuer.issuer import Issuer

MAX_CONNECTIONS = 1000
BACKLOG = 2048
MAX_HEADER_BYTES = 16 << 10


class Server(uvicorn.Server):
    """uvicorn that says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def server_for(issuer: Issuer, ready: Callable[[], None], log_config: dict[str, Any] = LOGGING_CONFIG) -> Server:
    """A server whose `run([socket])` blocks; `should_exit = True` ends it from another thread."""
    issuer.hasher.dummy  # noqa: B018 - made before the first login, not during it
    config = uvicorn.Config(
        app_for(issuer),
        log_config=log_config,
        log_level="warning",
        access_log=False,  # addresses may hold what somebody should have put into the body
        proxy_headers=False,  # forms.origin_of does it, for one hop
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=5,
        http="h11",
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
    )
    return Server(config, ready)


def listening(address: str) -> socket.socket:
    """A socket on HOST:PORT (0: any free port); UserError when it cannot be had."""
    return tcp_listener(address, backlog=BACKLOG, named="--listen")


def is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
