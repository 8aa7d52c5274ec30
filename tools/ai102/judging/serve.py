"""Answer Flagger's webhooks, and take records of live answers, each on an address of its own, until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from ai102.host.listen import tcp_listener, url_of
from ai102.judging.live import receiver
from ai102.judging.webhook import Gate, app_for

BACKLOG = 64


def serve(listen: str, gate: Gate, say: Callable[[str], None], answers: str = "") -> None:
    """Answer on `listen` (HOST:PORT, port 0: any free one); returns after Ctrl-C or TERM, and ends what is judged.

    Records of live answers are taken on `answers`; empty: nowhere. Raises UserError when an address cannot be listened
    on.
    """
    listeners = [tcp_listener(listen, backlog=BACKLOG, named="--serve")]
    services = [_service(app_for(gate))]
    if answers:
        try:
            listeners.append(tcp_listener(answers, backlog=BACKLOG, named="--answers"))
        except BaseException:
            listeners[0].close()
            raise
        services.append(_service(receiver.app_for(gate.take)))

    def stop(number: int, frame: object) -> None:
        for service in services:
            service.should_exit = True

    async def run() -> None:
        # Each has handlers of its own for signals; the last one's hold, and its end ends the others.
        serving = [
            asyncio.create_task(service.serve(sockets=[listener]))
            for service, listener in zip(services, listeners, strict=True)
        ]
        await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
        for service in services:
            service.should_exit = True
        await asyncio.gather(*serving)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        say(f"ready: {url_of(listeners[0])} answers Flagger's webhooks (Ctrl-C stops it)")
        if answers:
            say(f"ready: {url_of(listeners[1])}/answers takes records of live answers")
        asyncio.run(run())
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for listener in listeners:
            listener.close()
        gate.close()


def _service(app: Starlette) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="error", access_log=False, server_header=False, http="h11", ws="none", lifespan="off",
            timeout_graceful_shutdown=5,
        )
    )  # fmt: skip
