"""A worker as a process of its own: it works until a signal stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from ai102.client import AsyncClient, Retry
from ai102.client.addresses import addresses_from_url
from ai102.errors import UserError
from ai102.jobs.callbacks import Callbacks
from ai102.jobs.callbacks import Settings as CallbackSettings
from ai102.jobs.metrics import WorkerMetrics
from ai102.jobs.service import Options
from ai102.jobs.worker.direct import DirectCalls, OfGateway, OfTriton, Unseen
from ai102.jobs.worker.spans import AddSpan
from ai102.jobs.worker.worker import Models, Settings, Worker
from ai102.tracing.exporter import exporter_for

# How direct calls are seen, if not by the address of a gateway's metrics.
BY_TRITON, NOT_AT_ALL = "triton", "none"
# So long after a call Triton's counts may still show its steps.
RECENT_S = 0.3


def serve(
    options: Options,
    url: str,
    direct: str,
    models: Models,
    settings: Settings,
    callbacks: CallbackSettings,
    say: Callable[[str], None],
    listen: str = "",
    collector: str = "",
    mask: Callable[[str], str] = str,
) -> None:
    """Do jobs with the Triton at `url`; returns after Ctrl-C or TERM.

    `direct` says how direct calls are seen: BY_TRITON, by the counts of each server in `url`; by the address of a
    gateway's metrics; or NOT_AT_ALL.
    `listen`: HOST:PORT for GET /metrics, empty for none; `collector` gets the spans of sampled jobs, after `mask`.
    Raises UserError when the queue has a worker, or nobody may listen there.
    """
    metrics = WorkerMetrics()
    with _exposed(metrics.registry, listen), exporter_for("worker", collector, say, mask) as exporter:
        add_span = exporter.add if exporter else None
        asyncio.run(_run(options, url, direct, models, settings, metrics, callbacks, say, add_span))


async def _run(
    options: Options,
    url: str,
    direct: str,
    models: Models,
    settings: Settings,
    metrics: WorkerMetrics,
    callbacks: CallbackSettings,
    say: Callable[[str], None],
    add_span: AddSpan | None,
) -> None:
    ledger, queue = options.ledger(), options.queue()
    try:
        # A call that failed may have brought its server down: a job is not sent again at once.
        async with AsyncExitStack() as opened:
            client = AsyncClient(url, shared_memory=False, retry=Retry(tries=1))
            await opened.enter_async_context(client)
            seeing = _direct_calls(direct, url, models, say)
            opened.push_async_callback(seeing.close)
            worker = Worker(ledger, queue, client, seeing, models, settings, metrics, say, add_span)
            work = asyncio.create_task(_both(worker, Callbacks(ledger, callbacks, say)))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, work.cancel)
            say(f"ready: does jobs of {ledger.url} with {url} (Ctrl-C stops it)")
            try:
                await work
            except asyncio.CancelledError:
                pass
            except ExceptionGroup as group:
                raise _first(group) from group
    finally:
        await queue.close()
        ledger.close()


def _direct_calls(direct: str, url: str, models: Models, say: Callable[[str], None]) -> DirectCalls:
    if direct == NOT_AT_ALL:
        return Unseen()
    if direct != BY_TRITON:
        return OfGateway(direct, say)
    protocol, addresses = addresses_from_url(url)
    urls = [f"{protocol}://{address}" for address in addresses]
    return OfTriton(urls, models.steps_of, asyncio.get_running_loop().time, RECENT_S)


async def _both(worker: Worker, callbacks: Callbacks) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        tasks.create_task(callbacks.run())


@contextmanager
def _exposed(registry: CollectorRegistry, listen: str) -> Iterator[None]:
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host, registry)
    except (OSError, ValueError) as err:
        raise UserError(f"--metrics {listen}: {err}") from err
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The reason that a person is to read."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
