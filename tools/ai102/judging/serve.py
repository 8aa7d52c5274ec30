"""Answer Flagger's webhooks on an address until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import uvicorn

from ai102.host.listen import tcp_listener, url_of
from ai102.judging.webhook import Gate, app_for

BACKLOG = 64


def serve(listen: str, gate: Gate, say: Callable[[str], None]) -> None:
    """Answer on `listen` (HOST:PORT, port 0: any free one); returns after Ctrl-C or TERM, and ends what is judged.

    Raises UserError when the address cannot be listened on.
    """
    listener = tcp_listener(listen, backlog=BACKLOG, named="--serve")
    config = uvicorn.Config(
        app_for(gate), log_level="error", access_log=False, server_header=False, http="h11", ws="none", lifespan="off",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    service = uvicorn.Server(config)

    def stop(number: int, frame: object) -> None:
        service.should_exit = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        say(f"ready: {url_of(listener)} answers Flagger's webhooks (Ctrl-C stops it)")
        asyncio.run(service.serve(sockets=[listener]))
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        listener.close()
        gate.close()
