"""An open loop over gRPC: calls are sent when they are due, whether others have been answered or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai102.client import AsyncClient, Client, InferenceError, Retry
from ai102.client.tls import Tls
from loadtest.payloads import Sample, is_right, samples_of, targets
from loadtest.scaling.accounts import Called, percentile

# A caller who has waited so long has gone.
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Callers:
    """Who calls what: addresses of the gateway with TLS, a token, and held-out samples with their right answers."""

    url: str
    token: str
    ca_file: Path
    server_name: str
    model: str
    samples: tuple[Sample, ...]
    goal_ms: float

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    @property
    def tls(self) -> Tls:
        return Tls(ca_file=self.ca_file, server_name=self.server_name)


def callers(
    contract: Path, url: str, token: str, ca_file: Path, server_name: str, model: str, goal_ms: float, count: int
) -> Callers:
    """With answers of the idle server. Raises InferenceError, and UserError where a file or a sample is missing."""
    (target,) = targets(contract, "mixed", [model], count)
    tls, headers = Tls(ca_file=ca_file, server_name=server_name), {"authorization": f"Bearer {token}"}
    with Client(url, tls=tls, headers=headers, timeout_s=TIMEOUT_S) as client:
        samples = tuple(samples_of(target, client))
    return Callers(url, token, ca_file, server_name, model, samples, goal_ms)


@dataclass(frozen=True)
class Driven:
    """The calls of a run in the order in which they were due, the wrong answers, and how late the client sent."""

    calls: tuple[Called, ...]
    wrong: int
    errors: tuple[str, ...]  # each kind once
    late_p99_ms: float


def drive(who: Callers, due: Iterable[float], begin: Callable[[], float]) -> Driven:
    """Send every call when it is due, in seconds after the moment that `begin` gives; wait for the last answers."""
    return asyncio.run(_drive(who, due, begin))


def saturate(who: Callers, in_flight: int, seconds: float) -> float:
    """Answers a second with so many calls in flight."""
    return asyncio.run(_saturate(who, in_flight, seconds))


async def _drive(who: Callers, due: Iterable[float], begin: Callable[[], float]) -> Driven:
    calls: list[tuple[float, float | None, bool]] = []
    errors: dict[str, None] = {}
    lags_ms: list[float] = []
    # A client that tries again would hide what a caller sees.
    async with AsyncClient(who.url, tls=who.tls, headers=who.headers, retry=Retry(tries=1)) as client:
        loop = asyncio.get_running_loop()
        start = begin()

        async def call(at: float, sample: Sample) -> None:
            try:
                answer = await client.infer(who.model, sample.inputs, tuple(sample.answer), timeout_s=TIMEOUT_S)
            except InferenceError as err:
                errors[f"{type(err).__name__}: {err}"[:200]] = None
                calls.append((at, None, True))
            else:
                calls.append((at, (loop.time() - start - at) * 1000, is_right(sample, answer)))

        async with asyncio.TaskGroup() as tasks:
            for number, at in enumerate(due):
                await asyncio.sleep(max(0.0, start + at - loop.time()))
                lags_ms.append((loop.time() - start - at) * 1000)
                tasks.create_task(call(at, who.samples[number % len(who.samples)]))
    calls.sort(key=lambda row: row[0])
    rows = tuple(Called(at, latency if is_good else None) for at, latency, is_good in calls)
    wrong = sum(latency is not None and not is_good for _, latency, is_good in calls)
    return Driven(rows, wrong, tuple(errors), percentile(sorted(lags_ms), 99))


async def _saturate(who: Callers, in_flight: int, seconds: float) -> float:
    async with AsyncClient(who.url, tls=who.tls, headers=who.headers) as client:
        loop = asyncio.get_running_loop()
        ends, done = loop.time() + seconds, 0

        async def one_after_another(number: int, samples: Sequence[Sample]) -> None:
            nonlocal done
            while loop.time() < ends:
                sample = samples[number % len(samples)]
                await client.infer(who.model, sample.inputs, tuple(sample.answer), timeout_s=TIMEOUT_S)
                number, done = number + in_flight, done + 1

        await asyncio.gather(*(one_after_another(number, who.samples) for number in range(in_flight)))
    return done / seconds
