"""An inference from arrays to arrays: batches split and joined, labels and embeddings read; no network here."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102.client import tensors
from ai102.client.addresses import Balancer, is_here, target_from_url
from ai102.client.calls import Answer, Call, Describe, Description, Infer, Load, with_headers
from ai102.client.errors import (  # fmt: skip
    BadAnswerError,
    BadRequestError,
    DeadlineError,
    InferenceError,
    ModelNotFoundError,
    NoServerError,
    SharedMemoryError,
)
from ai102.client.exchange import Deadline, Retry, Steps, exchange
from ai102.client.memory.session import Memory
from ai102.client.tensors import Arrays
from ai102.client.tls import Secure, Tls, secure_from_tls
from ai102.errors import UserError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from ai102.client.sealing import Seal

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_METADATA = re.compile(r"[A-Za-z0-9_.-]+")
# The client sets these itself.
_OWN_HEADERS = {
    "host", "connection", "content-length", "content-type", "transfer-encoding", "inference-header-content-length",
}  # fmt: skip


class Label(NamedTuple):
    """A classifier's answer to one item."""

    label: str
    score: float


@dataclass
class Session:
    """The state that the two clients share: servers, limits, credentials, and facts about the server's models."""

    url: str
    timeout_s: float
    retry: Retry
    shared_memory: bool | None  # None: where it pays and the server allows it
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # of every call, tokens among them
    seal: Seal | None = None  # None: payloads travel as they are
    tls: Tls | None = None  # None: the system's authorities, where the URL is for TLS
    protocol: str = field(init=False)
    secure: Secure | None = field(init=False)
    balancer: Balancer = field(init=False)
    memory: Memory | None = field(init=False)
    described: dict[str, Description] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UserError when the URL is none of ours, or `tls` does not go with it."""
        self.protocol, is_tls, addresses = target_from_url(self.url)
        if self.tls is not None and not is_tls:
            raise UserError(f"{self.url}: tls is given, but the URL is not for TLS: write {self.protocol}s://")
        self.secure = secure_from_tls(self.tls or Tls(), self.protocol) if is_tls else None
        self.balancer = Balancer(addresses, time.monotonic)
        self.headers = checked_headers(self.headers, self.protocol)
        self.memory = None
        if is_tls and self.shared_memory:
            raise SharedMemoryError(
                f"{self.url}: shared memory goes past TLS; leave it out, or name the server itself without TLS"
            )
        if self.seal is not None and self.shared_memory:
            raise SharedMemoryError(
                f"{self.url}: shared memory holds tensors in clear; leave it out, or leave seal out"
            )
        if self.shared_memory is False or self.seal is not None or is_tls:
            return
        # One server on this host: a region is known to the server it was registered with, and to no other.
        if len(addresses) == 1 and is_here(addresses[0]):
            self.memory = Memory(self.url, bool(self.shared_memory), time.monotonic, self._ask)
        elif self.shared_memory:
            raise SharedMemoryError(
                f"{self.url}: shared memory reaches one server on this host; name one at 127.0.0.1, or leave it out"
            )

    def call(self, call: Call, timeout_s: float | None = None) -> Steps:
        """One call, tried as often as is safe."""
        return self._ask(with_headers(call, self.headers), self.deadline(timeout_s))

    def deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline.after(self.timeout_s if timeout_s is None else timeout_s, self.balancer.clock())

    def _ask(
        self,
        call: Call,
        deadline: Deadline,
        *,
        note: Callable[[InferenceError], None] | None = None,
        tries: int | None = None,
    ) -> Steps:
        retry = self.retry if tries is None else replace(self.retry, tries=tries)
        return exchange(call, self.balancer, retry, deadline, self.url, random.random, note)

    def infer(
        self,
        model: str,
        inputs: Arrays,
        outputs: Sequence[str] = (),
        *,
        version: str = "",
        request_id: str = "",
        traceparent: str = "",
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        deadline: Deadline | None = None,
        class_count: int = 0,
    ) -> Steps:
        """Runs the model and returns its outputs by name; see Client.infer. A `deadline` goes before `timeout_s`."""
        headers = headers_with(self.headers, headers, traceparent, self.protocol)
        for key, value in (parameters or {}).items():
            if not isinstance(value, str | int | float):
                raise BadRequestError(f"{model}: parameter {key} is {value!r}: send a string, a number or a boolean")
        deadline = deadline or self.deadline(timeout_s)
        rows = tensors.rows_of(inputs) or 0
        batches = [inputs] if rows < 2 else (yield from self._batches(model, inputs, rows, headers, deadline))
        answers = []
        for position, batch in enumerate(batches):
            identity = f"{request_id}.{position}" if request_id and len(batches) > 1 else request_id
            raws = [tensors.raw_from_array(name, array) for name, array in batch.items()]
            call = Infer(
                model, raws, tuple(outputs), version, identity, headers, parameters or {}, class_count=class_count
            )
            try:
                arrays = yield from self._run(call, deadline)
            except (BadRequestError, ModelNotFoundError):
                self.described.pop(model, None)  # it may have been loaded anew, with another batch size
                raise
            if len(batches) > 1:
                _check_rows(model, batch, arrays)
            answers.append(arrays)
        return answers[0] if len(answers) == 1 else tensors.joined(answers)

    def _batches(self, model: str, inputs: Arrays, rows: int, headers: Mapping[str, str], deadline: Deadline) -> Steps:
        """The inputs, cut where they hold more rows than the model takes at once."""
        try:
            size = (yield from self._describe(model, headers, deadline)).max_batch_size
        except (NoServerError, DeadlineError, ModelNotFoundError):
            raise
        except InferenceError:  # a gateway that shows no configs: the server itself refuses a batch that is too large
            size = 0
        return tensors.split(inputs, size) if 0 < size < rows else [inputs]

    def _describe(self, model: str, headers: Mapping[str, str], deadline: Deadline) -> Steps:
        """The model's Description; asked once."""
        if (known := self.described.get(model)) is None:
            known = self.described[model] = yield from self._ask(Describe(model, headers), deadline)
        return known

    def classify(self, items: Sequence[bytes], model: str, options: Mapping[str, Any]) -> Steps:
        """The label and score of each encoded image or text; see Client.classify."""
        if not items:
            return []
        deadline = self.deadline(options.get("timeout_s"))
        headers = headers_with(self.headers, options.get("headers"), "", self.protocol)
        about: Description = yield from self._describe(model, headers, deadline)
        if len(about.inputs) != 1:
            takes = ", ".join(about.inputs)
            raise BadRequestError(f"{model}: has the inputs {takes}, not one alone: call infer", "", model)
        inputs = {about.inputs[0]: tensors.bytes_array(items)}
        has_labels = {"label", "score"} <= set(about.outputs)
        if not has_labels and len(about.outputs) != 1:
            gives = ", ".join(about.outputs)
            words = f"{model}: has the outputs {gives}, neither label and score nor one alone: call infer"
            raise BadRequestError(words, "", model)
        outputs = ("label", "score") if has_labels else about.outputs
        count = 0 if has_labels else 1
        arrays = yield from self.infer(model, inputs, outputs, deadline=deadline, class_count=count, **options)
        counts = {array.size for array in arrays.values()}
        if counts != {len(items)}:
            sizes = " and ".join(f"{array.size} of {name}" for name, array in arrays.items())
            words = f"{model}: the answer to {len(items)} items has {sizes}"
            raise BadAnswerError(f"{words}: the model does not give one label each; call infer", "", model)
        return _labels(arrays["label"], arrays["score"]) if has_labels else _best(arrays[outputs[0]])

    def embed(self, texts: Sequence[str], model: str, options: Mapping[str, Any]) -> Steps:
        """The embedding of each text; see Client.embed."""
        if not texts:
            return np.empty((0, 0), np.float32)
        inputs = {"text": tensors.bytes_array([text.encode() for text in texts])}
        arrays = yield from self.infer(model, inputs, **options)
        for array in arrays.values():
            if array.ndim == 2 and array.dtype == np.float32 and len(array) == len(texts):
                return array
        gives = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items())
        words = f"{model}: the answer to {len(texts)} texts is {gives}, not one vector each"
        raise BadAnswerError(words, "", model)

    def _run(self, call: Infer, deadline: Deadline) -> Steps:
        answer: Answer | None = None
        if self.seal is not None:
            from ai102.client.sealing import Sealed

            answer = yield from Sealed(self.seal, call).through(lambda sent: self._ask(sent, deadline))
        elif self.memory is not None:
            answer = yield from self.memory.infer(call, deadline)
        if answer is None:
            answer = yield from self._ask(call, deadline)
        return _arrays(call, answer)

    def close(self) -> Steps:
        """Removes what this client has in shared memory."""
        if self.memory is not None:
            yield from self.memory.close(self.headers)


def _labels(labels: NDArray[Any], scores: NDArray[Any]) -> list[Label]:
    pairs = zip(labels.reshape(-1).tolist(), scores.reshape(-1).tolist(), strict=True)
    return [Label(label.decode("utf-8", "replace"), float(score)) for label, score in pairs]


def _best(answers: NDArray[Any]) -> list[Label]:
    """From "score:index:label" of the classification extension; the index where the model has no labels."""
    rows = [answer.decode("utf-8", "replace").split(":", 2) for answer in answers.reshape(-1).tolist()]
    return [Label(row[-1], float(row[0])) for row in rows]


def load_of(model: str, config: ModelConfig | Mapping[str, Any] | None, files: Mapping[str, bytes] | None) -> Load:
    """Raises BadRequestError for files without a config, which Triton would refuse with a misleading sentence."""
    if config is None:
        if files:
            raise BadRequestError(f"{model}: files are given without a config: Triton needs both", "", model)
        return Load(model)
    if not isinstance(config, Mapping):
        from google.protobuf import json_format

        text = json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)
        return Load(model, config=text, files=files or {})
    return Load(model, config=json.dumps(config), files=files or {})


def headers_with(
    ours: Mapping[str, str], more: Mapping[str, str] | None, traceparent: str, protocol: str
) -> Mapping[str, str]:
    """The headers of one call: the client's own, replaced by those of the call. Raises BadRequestError."""
    if not more and not traceparent:
        return ours
    tracing = {"traceparent": traceparent} if traceparent else {}
    headers = checked_headers({**(more or {}), **tracing}, protocol)
    names = {name.lower() for name in headers}
    return {**{name: value for name, value in ours.items() if name.lower() not in names}, **headers}


def checked_headers(headers: Mapping[str, str], protocol: str) -> Mapping[str, str]:
    """Raises BadRequestError for headers that the protocol does not carry."""
    if len({name.lower() for name in headers}) < len(headers):
        raise BadRequestError(f"headers {', '.join(sorted(headers))}: one is there twice, capitals aside: keep one")
    for name, value in headers.items():
        if name.lower() in _OWN_HEADERS:
            raise BadRequestError(f"header {name} is the client's own to set: leave it out")
        if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable():
            # Never the value: it may be a token.
            raise BadRequestError(f"{name!r} is no header: write a token, and printable ASCII as its value")
        if protocol == "grpc" and (not _METADATA.fullmatch(name) or name.lower().startswith("grpc-")):
            raise BadRequestError(
                f"header {name} does not go over gRPC: use letters, digits, _ - . and not grpc- first"
            )
    return headers


def _arrays(call: Infer, answer: Answer) -> dict[str, NDArray[Any]]:
    """The outputs in the order of the call. Raises BadAnswerError when one is missing or cut short."""
    if missing := [name for name in call.outputs if name not in answer.tensors]:
        has = ", ".join(answer.tensors) or "nothing"
        words = f"{call.model}: the server's answer has no {missing[0]}, only {has}"
        raise BadAnswerError(words, "", call.model)
    try:
        return {name: tensors.array_from_raw(answer.tensors[name]) for name in call.outputs or answer.tensors}
    except BadAnswerError as err:
        raise BadAnswerError(f"{call.model}: {err}", "", call.model) from err


def _check_rows(model: str, batch: Arrays, arrays: Arrays) -> None:
    """Raises BadAnswerError where answers to parts of a batch cannot be joined: each needs as many rows as its part."""
    rows = tensors.rows_of(batch)
    if uneven := next((name for name, array in arrays.items() if not array.ndim or array.shape[0] != rows), None):
        shape = list(arrays[uneven].shape)
        raise BadAnswerError(
            f"{model}: {rows} rows were sent and {uneven} in the answer is {shape}: send one batch", "", model
        )
