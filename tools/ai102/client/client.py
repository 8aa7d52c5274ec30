"""The client for threads: each call returns when the answer is there."""

from __future__ import annotations

import time
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


class Client:
    """`with Client("grpc://127.0.0.1:8001") as client:` or `http://127.0.0.1:8000`; threads may share it.

    Several servers are named with commas, as `grpc://a:8001,b:8001`, and take turns. A server that refuses connections
    or does not answer in time is skipped for 5 s; then one call tries it, in a part of its time if the call is safe to
    send again, and otherwise asks the next server. `timeout_s` bounds each call from its beginning to its end, every
    retry included. A call that is safe to send again (an inference, a question) is tried `retry.tries` times when no
    server answers or the server is busy. Large tensors go to a server on this host through shared memory if it allows
    that: `shared_memory=False` keeps them on the wire, `True` makes a refusal an error. `headers` go with every call: a
    restricted API needs `{"triton-grpc-protocol-KEY": VALUE}` over gRPC and `{KEY: VALUE}` over HTTP.
    `grpcs://gateway:8081` and `https://gateway:8080` speak TLS; `tls` names authorities other than the system's, and
    our certificate. A gateway also requires a token: `headers={"authorization": "Bearer TOKEN"}`.
    With `seal`, a key of ai102.seal or a folder of them, every inference goes to sealed_MODEL as an encrypted payload
    that only its model opens.
    With opentelemetry-api, each call continues the program's trace; see ai102.client.traces.
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

    def infer(
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
        """Run `model` on arrays by input name and return arrays by output name (all outputs when none is named).

        Text and encoded images travel as arrays of bytes objects. More rows than the model takes at once are sent
        in several batches and the answers joined; rows are the first dimension. `traceparent` is W3C Trace
        Context's, in place of the current trace; `parameters` are request parameters of Triton's protocol.
        Raises InferenceError: its class says what went wrong, `status` is the server's own.
        """
        arrays: dict[str, NDArray[Any]] = self._run(
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

    def classify(self, items: Sequence[bytes], model: str = "classify_image", **options: Any) -> list[Label]:
        """The label and score of each encoded image, or of each text in UTF-8 for an ensemble that takes texts.

        A model without the outputs `label` and `score`, such as score_image, is asked for the best class of its one
        output, Triton's classification extension: a step less for the server. `options` are those of `infer`.
        Raises InferenceError.
        """
        labels: list[Label] = self._run(self._session.classify(items, model, options), "classify", model, options)
        return labels

    def embed(self, texts: Sequence[str], model: str = "embed_text", **options: Any) -> NDArray[np.float32]:
        """The embedding of each text [texts, width]. `options` are those of `infer`. Raises InferenceError."""
        vectors: NDArray[np.float32] = self._run(self._session.embed(texts, model, options), "embed", model, options)
        return vectors

    def models(self) -> list[ModelState]:
        """Every model of the server's repository, a row for each version. Raises InferenceError."""
        rows: list[ModelState] = self._ask(Index())
        return rows

    def config(self, model: str) -> ModelConfig:
        """The config that `model` is served with, including what Triton filled in. Raises InferenceError."""
        config: ModelConfig = self._ask(Config(model))
        return config

    def version(self) -> str:
        """The server's version, such as "2.51.0". Raises InferenceError."""
        version: str = self._ask(Version())
        return version

    def load(
        self,
        model: str,
        config: ModelConfig | Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Load `model`, or load it anew, on a server in explicit model control mode. Raises InferenceError.

        `config` is served instead of the repository's config.pbtxt until the model is loaded with another one: to load
        the model without `config` does not bring the file's back, because the file has not changed. `files` are served
        instead of the model's folder, by path in it ("1/model.onnx"); they need a `config`. The model as it was stays
        in service where the server refuses the new one.
        """
        self._ask(load_of(model, config, files), timeout_s)

    def statistics(self, model: str = "") -> list[dict[str, Any]]:
        """The server's counts, for `model` or for all: Triton's statistics extension. Raises InferenceError."""
        rows: list[dict[str, Any]] = self._ask(Statistics(model))
        return rows

    def close(self) -> None:
        """Close every connection, and remove the shared memory of this client."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._drive(self._session.close())
        finally:
            self._send.close()

    def _ask(self, call: Call, timeout_s: float | None = None) -> Any:
        return self._run(self._session.call(call, timeout_s), type(call).__name__.lower(), call.model)

    def _run(
        self,
        steps: Steps,
        verb: str,
        model: str,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        if self._is_closed:
            raise RuntimeError("this client is closed: create another, or keep the calls inside its with statement")
        return self._drive(traced(steps, verb, model, options or {}))

    def _drive(self, steps: Steps) -> Any:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    answer = self._send(step)
                except InferenceError as err:
                    step = steps.throw(err)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return done.value
        finally:
            steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _sender(protocol: str, secure: Secure | None) -> Any:
    # Imported here: either library takes a while to load, and only one is needed.
    if protocol == "http":
        from ai102.client.http.senders import HttpSender

        return HttpSender(secure)
    from ai102.client.grpc.senders import GrpcSender

    return GrpcSender(secure)
