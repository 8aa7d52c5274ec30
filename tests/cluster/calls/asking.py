"""One call on the gateway, with our client or with bare tritonclient, over gRPC or REST: right, or what went wrong."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.client import AsyncClient, InferenceError, Retry, Tls, bytes_array

OURS, BARE = "ai102.client", "tritonclient"
GRPC, REST, SEALED = WAYS_SEALED = "gRPC", "REST", "sealed"
WAYS = GRPC, REST
TIMEOUT_S = 10.0
MODEL, INPUT, OUTPUT = "embed_text", "text", "sentence_embedding"
TEXT = "A man is eating food."
# Of the right answer: batches of other sizes round otherwise.
LEAST_COSINE = 0.99
# The load balancer may still send connections to a gateway that has just died: so a call goes on asking for a while.
RETRY = Retry(tries=8, pause_s=0.1, longest_pause_s=1.0)

_tries: ContextVar[list[int]] = ContextVar("tries")


@dataclass(frozen=True)
class Place:
    """Where the gateway is, and who asks it."""

    host: str
    grpc_port: int
    rest_port: int
    ca_file: str
    token: str
    seal_folder: str = ""  # keys of the way "sealed", which is gRPC


@dataclass(frozen=True)
class Outcome:
    tries: int
    failure: str = ""


Ask = Callable[[], Awaitable[Outcome]]


@asynccontextmanager
async def ways_to(place: Place, client: str, ways: Sequence[str], count: int) -> AsyncIterator[list[tuple[str, Ask]]]:
    """`count` clients for each way, each with connections of its own that it keeps, in turn."""
    right = Right()
    async with AsyncExitStack() as stack:
        opened: list[tuple[str, Ask]] = []
        for _ in range(count):
            for way in ways:
                ask = _ours(place, way, right) if client == OURS else _bare(place, way, right)
                opened.append((way, await stack.enter_async_context(ask)))
        yield opened


class Right:
    """The right answer: the first one. Whatever is unlike it is wrong."""

    def __init__(self) -> None:
        self._vector: NDArray[np.float32] | None = None

    def outcome(self, answer: Any, tries: int) -> Outcome:
        vector = np.asarray(answer, np.float32).reshape(-1)
        if self._vector is None:
            self._vector = vector
        if vector.shape != self._vector.shape or float(vector @ self._vector) < LEAST_COSINE:
            return Outcome(tries, f"a wrong answer of shape {list(vector.shape)}")
        return Outcome(tries)


class CountedSender:
    """What a client sends by, which counts the tries of the current call."""

    def __init__(self, send: Any) -> None:
        self._send = send

    async def __call__(self, attempt: Any) -> Any:
        _tries.get()[0] += 1
        return await self._send(attempt)

    async def close(self) -> None:
        await self._send.close()


@asynccontextmanager
async def _ours(place: Place, way: str, right: Right) -> AsyncIterator[Ask]:
    scheme, port = ("https", place.rest_port) if way == REST else ("grpcs", place.grpc_port)
    url = f"{scheme}://{place.host}:{port}"
    headers = {"authorization": f"Bearer {place.token}"}
    seal: Any = None
    if way == SEALED:
        from ai102_runtime.seal.keys import KeyFolder

        seal = KeyFolder(Path(place.seal_folder))
    tls = Tls(ca_file=Path(place.ca_file))
    async with AsyncClient(url, timeout_s=TIMEOUT_S, retry=RETRY, headers=headers, tls=tls, seal=seal) as client:
        client._send = CountedSender(client._send)  # the client itself says nowhere how often it tried
        texts = bytes_array([TEXT.encode()])

        async def ask() -> Outcome:
            tries = [0]
            _tries.set(tries)
            try:
                answer = await client.infer(MODEL, {INPUT: texts})
            except InferenceError as err:
                return Outcome(max(tries[0], 1), f"{type(err).__name__}: {err}")
            return right.outcome(answer[OUTPUT], tries[0])

        yield ask


@asynccontextmanager
async def _bare(place: Place, way: str, right: Right) -> AsyncIterator[Ask]:
    """As a program that knows tritonclient alone writes it: no retry."""
    headers = {"authorization": f"Bearer {place.token}"}
    texts = np.array([[TEXT.encode()]], dtype=object)
    if way == REST:
        import tritonclient.http as http
        import tritonclient.http.aio as http_aio

        context = ssl.create_default_context(cafile=place.ca_file)
        client: Any = http_aio.InferenceServerClient(f"{place.host}:{place.rest_port}", ssl=True, ssl_context=context)
        request: Any = http.InferInput(INPUT, [1, 1], "BYTES")
        request.set_data_from_numpy(texts)
        limits: dict[str, Any] = {}
    else:
        import tritonclient.grpc as grpc
        import tritonclient.grpc.aio as grpc_aio

        client = grpc_aio.InferenceServerClient(
            f"{place.host}:{place.grpc_port}", ssl=True, root_certificates=place.ca_file
        )
        request = grpc.InferInput(INPUT, [1, 1], "BYTES")
        request.set_data_from_numpy(texts)
        limits = {"client_timeout": TIMEOUT_S}

    async def ask() -> Outcome:
        try:
            answer = await client.infer(MODEL, [request], headers=headers, **limits)
        except Exception as err:  # noqa: BLE001, tritonclient lets through what aiohttp and grpc raise
            return Outcome(1, " ".join(f"{type(err).__name__}: {err}".split())[:200])
        return right.outcome(answer.as_numpy(OUTPUT), 1)

    try:
        yield ask
    finally:
        await client.close()
