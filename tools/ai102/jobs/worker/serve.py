"""A worker as a process of its own: it works until a signal stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from ai102.client import AsyncClient, Retry
from ai102.jobs.service import Options
from ai102.jobs.worker.worker import Models, Settings, Worker


def serve(
    options: Options,
    url: str,
    models: Models,
    settings: Settings,
    say: Callable[[str], None],
) -> None:
    """Do jobs with the Triton at `url`; returns after Ctrl-C or TERM. Raises UserError when the queue has a worker."""
    asyncio.run(_run(options, url, models, settings, say))


async def _run(
    options: Options,
    url: str,
    models: Models,
    settings: Settings,
    say: Callable[[str], None],
) -> None:
    ledger, queue = options.ledger(), options.queue()
    try:
        # A call that failed may have brought its server down: a job is not sent again at once.
        async with AsyncClient(url, shared_memory=False, retry=Retry(tries=1)) as client:
            work = asyncio.create_task(Worker(ledger, queue, client, models, settings, say).run())
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, work.cancel)
            say(f"ready: does jobs of {ledger.url} with {url} (Ctrl-C stops it)")
            try:
                await work
            except asyncio.CancelledError:
                pass
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
    finally:
        await queue.close()
        ledger.close()
