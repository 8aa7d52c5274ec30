"""The client for asyncio: the calls of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ai102.client.calls import Call, Config, Index, ModelState, Statistics, Version
from ai102.client.errors import InferenceError
from ai102.client.exchange import Pause, Retry, Steps
from ai102.client.inference import Label, Session, load_of
from ai102.client.traces import traced

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from ai102.client.sealing import Seal
    from ai102.client.tls import Secure, Tls


class AsyncClient:
    """`async with AsyncClient("grpc://127.0.0.1:8001") as client:`; see `Client`, which is alike.

    It belongs to one event loop, in which any number of tasks may share it.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        shared_memory: bool | None = None,
        headers: Mapping[str, str] | None = None,
        seal: Seal | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Raises UserError when the URL is of another kind, or `tls` does not fit; connects on first use."""
        self.url = url
        self._session = Session(url, timeout_s, retry or Retry(), shared_memory, headers or {}, seal, tls)
        self._send = _sender(self._session.protocol, self._session.secure)
        self._is_closed = False

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str] = (),
        *,
        version: str = "",
        request_id: str = "",
        traceparent: str = "",
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """As Client.infer."""
        arrays: dict[str, NDArray[Any]] = await self._run(
            self._session.infer(
                model,
                inputs,
                outputs,
                version=version,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
                parameters=parameters,
                timeout_s=timeout_s,
            ),
            "infer",
            model,
            {"headers": headers, "traceparent": traceparent},
        )
        return arrays

    async def classify(self, items: Sequence[bytes], model: str = "classify_image", **options: Any) -> list[Label]:
        """As Client.classify."""
        labels: list[Label] = await self._run(self._session.classify(items, model, options), "classify", model, options)
        return labels

    async def embed(self, texts: Sequence[str], model: str = "embed_text", **options: Any) -> NDArray[np.float32]:
        """As Client.embed."""
        vectors: NDArray[np.float32] = await self._run(
            self._session.embed(texts, model, options), "embed", model, options
        )
        return vectors

    async def models(self) -> list[ModelState]:
        """As Client.models."""
        rows: list[ModelState] = await self._ask(Index())
        return rows

    async def config(self, model: str) -> ModelConfig:
        """As Client.config."""
        config: ModelConfig = await self._ask(Config(model))
        return config

    async def version(self) -> str:
        """As Client.version."""
        version: str = await self._ask(Version())
        return version

    async def load(
        self,
        model: str,
        config: ModelConfig | Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """As Client.load."""
        await self._ask(load_of(model, config, files), timeout_s)

    async def statistics(self, model: str = "") -> list[dict[str, Any]]:
        """As Client.statistics."""
        rows: list[dict[str, Any]] = await self._ask(Statistics(model))
        return rows

    async def close(self) -> None:
        """As Client.close."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._drive(self._session.close())
        finally:
            await self._send.close()

    async def _ask(self, call: Call, timeout_s: float | None = None) -> Any:
        return await self._run(self._session.call(call, timeout_s), type(call).__name__.lower(), call.model)

    async def _run(
        self,
        steps: Steps,
        verb: str,
        model: str,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        if self._is_closed:
            raise RuntimeError("this client is closed: create another, or keep the calls inside its with statement")
        return await self._drive(traced(steps, verb, model, options or {}))

    async def _drive(self, steps: Steps) -> Any:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    answer = await self._send(step)
                except InferenceError as err:
                    step = steps.throw(err)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return done.value
        finally:
            steps.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _sender(protocol: str, secure: Secure | None) -> Any:
    # Imported here: either library takes a while to load, and only one is needed.
    if protocol == "http":
        from ai102.client.http.senders import AsyncHttpSender

        return AsyncHttpSender(secure)
    from ai102.client.grpc.senders import AsyncGrpcSender

    return AsyncGrpcSender(secure)
