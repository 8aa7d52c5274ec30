"""Open-loop load: Poisson arrivals that do not wait for the server, with latencies from the scheduled arrival."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.client import AsyncClient, BusyError, DeadlineError, Retry
from ai102.tune.rate import Window

Request = Mapping[str, NDArray[Any]]

# The first share of a window, which fills the queue and is not counted.
LEAD = 0.15
# The fewest requests of a window: a p99 of fewer is close to the maximum.
FEWEST = 200
# A window is extended up to this factor to reach FEWEST.
LONGEST = 3.0
# If more than this share of the requests is over the goal, the window ends early as a miss.
HOPELESS = 0.03
SEED = 102
# asyncio.sleep wakes up to a millisecond late: the last part of a wait polls the clock.
SPIN_S = 0.0015


class OpenLoop:
    """Sends requests to one model of one server; it belongs to the event loop in which it is created."""

    def __init__(
        self, url: str, model: str, requests: Sequence[Request], outputs: Sequence[str], *, may_spin: bool
    ) -> None:
        # Retries and shared memory would change the measurement.
        self._client = AsyncClient(url, retry=Retry(tries=1), shared_memory=False)
        self._model, self._requests, self._outputs, self._may_spin = model, requests, outputs, may_spin

    async def window(self, rate: float, seconds: float, goal_ms: float) -> Window:
        """Latencies of requests at that rate. The arrivals are the same every time, so that candidates compare."""
        length = min(max(seconds, FEWEST / rate), seconds * LONGEST)
        lead = length * LEAD
        gaps = np.random.default_rng(SEED).exponential(1 / rate, size=int(rate * (length + lead) * 1.5 + 100))
        due = np.cumsum(gaps)
        due = due[due < length + lead]
        first = int(np.searchsorted(due, lead))
        run = _Run(goal_ms / 1000, most_late=max(2, math.ceil(HOPELESS * (len(due) - first))))
        # A request with that latency has missed the goal by far; the server drops it too.
        timeout_s = max(2.0, goal_ms / 1000 * 10)
        loop = asyncio.get_running_loop()
        start = loop.time() + 0.01
        tasks = []
        for number, at in enumerate(due):
            await self._wait_until(start + at)
            if run.is_hopeless:
                break
            is_counted = number >= first
            if is_counted:
                run.lags_ms.append((loop.time() - start - at) * 1000)
            tasks.append(loop.create_task(self._one(number, start + at, timeout_s, run if is_counted else None)))
        await asyncio.gather(*tasks)
        lag = float(np.percentile(run.lags_ms, 99)) if run.lags_ms else 0.0
        return Window(rate, tuple(run.latencies_ms), lag, was_cut=run.is_hopeless)

    async def saturation(self, seconds: float, in_flight: int) -> float:
        """Requests per second with `in_flight` concurrent requests."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        done = 0

        async def ask(number: int) -> None:
            nonlocal done
            while loop.time() < start + seconds:
                await self._ask(number, 30.0)
                number += in_flight
                done += 1

        await asyncio.gather(*(ask(number) for number in range(in_flight)))
        return max(done, 1) / (loop.time() - start)

    async def close(self) -> None:
        await self._client.close()

    async def _wait_until(self, at: float) -> None:
        loop = asyncio.get_running_loop()
        spin_s = SPIN_S if self._may_spin else 0.0
        await asyncio.sleep(max(0.0, at - loop.time() - spin_s))
        while loop.time() < at:
            await asyncio.sleep(0)

    async def _one(self, number: int, due: float, timeout_s: float, run: _Run | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._ask(number, timeout_s)
            latency_s = loop.time() - due
        except (BusyError, DeadlineError):  # refused, or too late: overload
            latency_s = math.inf
        if run is not None:
            run.add(latency_s)

    async def _ask(self, number: int, timeout_s: float) -> None:
        request = self._requests[number % len(self._requests)]
        await self._client.infer(self._model, request, self._outputs, timeout_s=timeout_s)


class _Run:
    """The measurements of one window so far."""

    def __init__(self, goal_s: float, most_late: int) -> None:
        self.latencies_ms: list[float] = []
        self.lags_ms: list[float] = []
        self._goal_s, self._most_late, self._late = goal_s, most_late, 0

    def add(self, latency_s: float) -> None:
        self.latencies_ms.append(latency_s * 1000)
        self._late += latency_s > self._goal_s

    @property
    def is_hopeless(self) -> bool:
        return self._late > self._most_late
