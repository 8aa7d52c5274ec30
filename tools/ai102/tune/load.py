"""Requests that arrive whether or not the server keeps up: Poisson arrivals, timed from when each was due."""

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

# The first part of a window fills the queue and is not counted.
LEAD = 0.15
# A p99 of fewer requests is little more than the slowest of them.
FEWEST = 200
# A window is made longer for the sake of FEWEST, but at most this many times.
LONGEST = 3.0
# More than this share over the goal is a miss beyond doubt, and the rest of the window is spared.
HOPELESS = 0.03
SEED = 102
# Sleeping wakes up to a millisecond late: the last of it is spent asking the clock.
SPIN_S = 0.0015


class OpenLoop:
    """Asks one model at one server; belongs to the event loop it is made in."""

    def __init__(
        self, url: str, model: str, requests: Sequence[Request], outputs: Sequence[str], *, may_spin: bool
    ) -> None:
        # Retries and shared memory would change what is measured.
        self._client = AsyncClient(url, retry=Retry(tries=1), shared_memory=False)
        self._model, self._requests, self._outputs, self._may_spin = model, requests, outputs, may_spin

    async def window(self, rate: float, seconds: float, goal_ms: float) -> Window:
        """What requests at that rate see. The same random arrivals each time, so that candidates are compared alike."""
        length = min(max(seconds, FEWEST / rate), seconds * LONGEST)
        lead = length * LEAD
        gaps = np.random.default_rng(SEED).exponential(1 / rate, size=int(rate * (length + lead) * 1.5 + 100))
        due = np.cumsum(gaps)
        due = due[due < length + lead]
        first = int(np.searchsorted(due, lead))
        run = _Run(goal_ms / 1000, most_late=max(2, math.ceil(HOPELESS * (len(due) - first))))
        # A request that takes so long has missed the goal by far; the server is rid of it all the same.
        timeout_s = max(2.0, goal_ms / 1000 * 10)
        loop = asyncio.get_running_loop()
        began = loop.time() + 0.01
        tasks = []
        for number, at in enumerate(due):
            await self._wait_until(began + at)
            if run.is_hopeless:
                break
            is_counted = number >= first
            if is_counted:
                run.lags_ms.append((loop.time() - began - at) * 1000)
            tasks.append(loop.create_task(self._one(number, began + at, timeout_s, run if is_counted else None)))
        await asyncio.gather(*tasks)
        lag = float(np.percentile(run.lags_ms, 99)) if run.lags_ms else 0.0
        return Window(rate, tuple(run.latencies_ms), lag, was_cut=run.is_hopeless)

    async def saturation(self, seconds: float, in_flight: int) -> float:
        """Requests per second when `in_flight` of them are always under way."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        done = 0

        async def ask(number: int) -> None:
            nonlocal done
            while loop.time() < began + seconds:
                await self._ask(number, 30.0)
                number += in_flight
                done += 1

        await asyncio.gather(*(ask(number) for number in range(in_flight)))
        return max(done, 1) / (loop.time() - began)

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
        except (BusyError, DeadlineError):  # turned away, or too late: what overload looks like
            latency_s = math.inf
        if run is not None:
            run.add(latency_s)

    async def _ask(self, number: int, timeout_s: float) -> None:
        request = self._requests[number % len(self._requests)]
        await self._client.infer(self._model, request, self._outputs, timeout_s=timeout_s)


class _Run:
    """What one window has seen so far."""

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
