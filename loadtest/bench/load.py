"""The load generator: a closed loop with a fixed number of requests in flight, the same for every server."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from loadtest.bench.results import Round
from loadtest.bench.stats import round_from_latencies

# The warm-up of the connections, which is not counted.
WARM_S = 0.25
TIMEOUT_S = 30.0


class BadStatusError(Exception):
    """A server answered with an error status."""


@dataclass(frozen=True)
class HttpRequest:
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    body: bytes
    headers: Mapping[str, str]


# Parameters: the slot, which is the number of a request in flight, and the number of the sample to send.
Send = Callable[[int, int], Awaitable[Any]]
Connect = Callable[[str, int], AbstractAsyncContextManager[Send]]


def http_connect(requests: Sequence[HttpRequest], path: str) -> Connect:
    """Persistent connections, one for each request in flight."""

    @asynccontextmanager
    async def connect(address: str, slots: int) -> AsyncIterator[Send]:
        url = f"http://{address}{path}"
        connector = aiohttp.TCPConnector(limit=slots)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        # Triton compresses answers if the client accepts it, which costs more than it saves on one machine.
        plain = {"Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=plain) as session:

            async def send(slot: int, sample: int) -> Answer:
                request = requests[sample % len(requests)]
                async with session.post(url, data=request.body, headers=request.headers) as response:
                    body = await response.read()
                    if response.status != 200:
                        raise BadStatusError(f"status {response.status}: {body[:200]!r}")
                    return Answer(body, response.headers)

            yield send

    return connect


def measure(connect: Connect, address: str, concurrency: int, seconds: float) -> Round:
    """One round: `concurrency` requests in flight for `seconds`; the last ones are awaited."""
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(_round(connect, address, concurrency, seconds))
    finally:
        gc.enable()


async def _round(connect: Connect, address: str, concurrency: int, seconds: float) -> Round:
    async with connect(address, concurrency) as send:
        await _loop(send, concurrency, min(WARM_S, seconds))
        cpu, start = time.process_time(), time.perf_counter()
        latencies, errors = await _loop(send, concurrency, seconds)
        elapsed = time.perf_counter() - start
        client_cpu = (time.process_time() - cpu) / elapsed
    return round_from_latencies(latencies, len(latencies), elapsed, errors=errors, client_cpu=client_cpu)


async def _loop(send: Send, concurrency: int, seconds: float) -> tuple[list[float], int]:
    latencies: list[float] = []
    errors = 0
    clock = time.perf_counter
    deadline = clock() + seconds

    async def one_after_another(slot: int) -> None:
        nonlocal errors
        sample, now = slot, clock()
        while now < deadline:
            before = now
            try:
                await send(slot, sample)
            except Exception:  # noqa: BLE001  # each library has its own exceptions; each is a missing answer
                errors += 1
                now = clock()
                await asyncio.sleep(0.01)  # limits the rate of attempts at a dead server
            else:
                now = clock()
                latencies.append(now - before)
            sample += concurrency

    await asyncio.gather(*(one_after_another(slot) for slot in range(concurrency)))
    return latencies, errors
