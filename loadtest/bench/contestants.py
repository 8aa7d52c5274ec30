"""The contestants of a work: servers whose answers are compared with the session's before they are timed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import grpc
import numpy as np

from loadtest.bench.goals import CONCURRENCIES, GRPC, HTTP, SATURATED, SHM, step_name
from loadtest.bench.hosts import START_TIMEOUT_S, Host, PeerHost, TritonHost
from loadtest.bench.load import BadStatusError, Connect, http_connect, measure
from loadtest.bench.peers import PEERS_FOLDER, CannotRunError, value_from_answer
from loadtest.bench.results import Round
from loadtest.bench.triton import arrays_from_grpc, arrays_from_http, grpc_connect, http_requests, shared_memory_connect
from loadtest.bench.wire import counted
from loadtest.bench.works import Work

sys.path.append(str(PEERS_FOLDER))
CHECKED = 8
MIN_COSINE = 0.999
NOT_YET = (OSError, aiohttp.ClientError, grpc.RpcError, BadStatusError, TimeoutError)


@dataclass
class Contestant:
    """One server over one protocol."""

    name: str
    host: Host
    address: str
    connect: Connect
    value: Callable[[Any], Any] | None  # an answer's value; None: answers are not compared
    concurrencies: tuple[int, ...] = CONCURRENCIES
    variant: str = ""
    tried: dict[str, float] = field(default_factory=dict)

    def measure(self, concurrency: int, seconds: float) -> Round:
        return measure(self.connect, self.address, concurrency, seconds)

    def first_answer(self) -> float:
        """Seconds from the start of the host to its first answer. Raises CannotRunError without an answer."""
        deadline = time.perf_counter() + START_TIMEOUT_S
        while True:
            try:
                asyncio.run(_ask(self.connect, self.address, [0]))
            except NOT_YET as err:
                self.host.check_alive()
                if time.perf_counter() > deadline:
                    raise CannotRunError(f"no answer within {START_TIMEOUT_S:g} s ({_short(err)})") from err
                time.sleep(0.05)
            else:
                return time.perf_counter() - self.host.started

    def check(self, expected: Sequence[Any]) -> tuple[float, float]:
        """Bytes on the wire, per request and per answer. Raises CannotRunError for a wrong answer."""
        try:
            answers, sent, received = asyncio.run(self._checked(len(expected)))
        except NOT_YET as err:
            raise CannotRunError(f"no answer during the check ({_short(err)})") from err
        if self.value is not None:
            for answer, value in zip(answers, expected, strict=True):
                if not is_same(self.value(answer), value):
                    raise CannotRunError("wrong answers")
        return sent, received

    async def _checked(self, count: int) -> tuple[list[Any], float, float]:
        samples = list(range(count))
        async with counted(self.address) as wire, self.connect(wire.address, 1) as send:
            await send(0, 0)  # the bytes that open a connection are not counted
            sent, received = wire.sent, wire.received
            answers = [await send(0, sample) for sample in samples]
            return answers, (wire.sent - sent) / count, (wire.received - received) / count


async def _ask(connect: Connect, address: str, samples: Sequence[int]) -> list[Any]:
    async with connect(address, 1) as send:
        return [await send(0, sample) for sample in samples]


def is_same(actual: Any, expected: Any) -> bool:
    """Whether two labels are equal, or two arrays have a cosine of almost 1."""
    if isinstance(expected, str):
        return bool(actual == expected)
    actual, expected = np.ravel(actual).astype(np.float64), np.ravel(expected).astype(np.float64)
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return False
    return bool(actual @ expected > MIN_COSINE * np.linalg.norm(actual) * np.linalg.norm(expected))


def expected_of(work: Work, engine: str) -> list[Any]:
    """The engine's answers to the first samples, computed with the peers' pipeline."""
    from pipeline import Pipeline

    pipeline = Pipeline(work.file, engine)
    values = [pipeline.values([sample])[0] for sample in work.samples[:CHECKED]]
    return [value["label"] if work.kind == "image" else value for value in values]


def of_triton(work: Work, host: TritonHost) -> list[Contestant]:
    """Triton over each protocol, and each step of an ensemble."""
    samples, outputs, classes = work.inputs[work.model], work.outputs, work.class_count
    server = host.server

    def value(arrays: dict[str, Any]) -> Any:
        first = arrays[outputs[0]].ravel()
        return first[0].decode().split(":", 2)[2] if classes else first

    def from_http(answer: Any) -> Any:
        return value(arrays_from_http(answer, outputs))

    def from_grpc(answer: bytes) -> Any:
        return value(arrays_from_grpc(answer, outputs))

    http = http_connect(http_requests(samples, outputs, classes), f"/v2/models/{work.model}/infer")
    grpc = grpc_connect(work.model, samples, outputs, classes)
    shm = shared_memory_connect(work.model, samples, outputs, classes)
    rows = [
        Contestant(HTTP, host, server.http_url, http, from_http),
        Contestant(GRPC, host, server.grpc_url, grpc, from_grpc),
        Contestant(SHM, host, server.grpc_url, shm, from_grpc),
    ]
    for model in work.steps:
        connect = grpc_connect(model, work.inputs[model], ())
        rows.append(Contestant(step_name(model), host, server.grpc_url, connect, None, (SATURATED,)))
    return rows


def of_peer(work: Work, host: PeerHost, requests: Callable[[Work, str], Any], name: str, variant: str) -> Contestant:
    connect = http_connect(requests(work, variant), "/answer")
    value = partial(value_from_answer, kind=work.kind)
    return Contestant(name, host, host.address, connect, value, variant=variant)


def _short(err: BaseException) -> str:
    text = " ".join(str(err.details() if isinstance(err, grpc.aio.AioRpcError) else err).split())
    return (text or type(err).__name__)[:160]
