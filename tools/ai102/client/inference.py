"""An inference from arrays to arrays: batches split and joined, shared memory where it pays; no network here."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102.client import tensors
from ai102.client.addresses import Balancer, addresses_from_url
from ai102.client.calls import Answer, Call, Describe, Description, Infer, Region, Register
from ai102.client.errors import (
    BadAnswerError,
    BadRequestError,
    DeadlineError,
    InferenceError,
    ModelNotFoundError,
    NoServerError,
    SharedMemoryError,
)  # fmt: skip
from ai102.client.exchange import Retry, Step, exchange
from ai102.client.shared_memory import WORTH_IT_BYTES, Segment, Segments, aligned, is_here, key_of, size_of
from ai102.client.tensors import Arrays, Raw

Steps = Generator[Step, Any, Any]


class Label(NamedTuple):
    """What a classifier says of one item."""

    label: str
    score: float


@dataclass
class Session:
    """What the two clients share: where to ask, how long, how often, and what was learned about the server."""

    url: str
    timeout_s: float
    retry: Retry
    shared_memory: bool | None  # None: where it pays and the server allows it
    protocol: str = ""
    balancer: Balancer = field(init=False)
    segments: Segments | None = field(init=False)
    described: dict[str, Description] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UserError when the URL is none."""
        self.protocol, addresses = addresses_from_url(self.url)
        self.balancer = Balancer(addresses, time.monotonic)
        # One server on this host: a region is known to the server it was registered with, and to no other.
        is_possible = len(addresses) == 1 and is_here(addresses[0])
        if self.shared_memory and not is_possible:
            raise SharedMemoryError(
                f"{self.url}: shared memory reaches one server on this host; name one at 127.0.0.1, or leave it out"
            )
        self.segments = Segments() if is_possible and self.shared_memory is not False else None

    def call(self, call: Call, timeout_s: float | None = None) -> Steps:
        """One call, tried as often as is safe."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        return exchange(call, self.balancer, self.retry, limit, self.url, random.random)

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
    ) -> Steps:
        """Runs the model and returns its outputs by name; see Client.infer."""
        told = dict(headers or {}) | ({"traceparent": traceparent} if traceparent else {})
        ends = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        batches = yield from self._batches(model, inputs, told, ends - time.monotonic())
        answers = []
        for position, batch in enumerate(batches):
            identity = f"{request_id}.{position}" if request_id and len(batches) > 1 else request_id
            raws = tuple(tensors.raw_from_array(name, array) for name, array in batch.items())
            call = Infer(model, raws, tuple(outputs), version, identity, told, parameters or {})
            arrays = yield from self._run(call, ends)
            if len(batches) > 1:
                _check_rows(model, batch, arrays)
            answers.append(arrays)
        return answers[0] if len(answers) == 1 else tensors.joined(answers)

    def _batches(self, model: str, inputs: Arrays, headers: Mapping[str, str], timeout_s: float) -> Steps:
        """The inputs, cut where they hold more rows than the model takes at once."""
        rows = tensors.rows_of(inputs)
        if rows is None or rows < 2:
            return [inputs]
        try:
            size = (yield from self.describe(model, headers, timeout_s)).max_batch_size
        except (NoServerError, DeadlineError, ModelNotFoundError):
            raise
        except InferenceError:  # a gateway that shows no configs: the server will say what is too much
            size = 0
        return tensors.split(inputs, size) if 0 < size < rows else [inputs]

    def describe(self, model: str, headers: Mapping[str, str], timeout_s: float | None = None) -> Steps:
        """The model's Description; asked once."""
        if model not in self.described:
            self.described[model] = yield from self.call(Describe(model, headers), timeout_s)
        return self.described[model]

    def classify(self, items: Sequence[bytes], model: str, options: Mapping[str, Any]) -> Steps:
        """The label and score of each encoded image or text; see Client.classify."""
        if not items:
            return []
        about: Description = yield from self.describe(model, options.get("headers") or {}, options.get("timeout_s"))
        if len(about.inputs) != 1:
            raise BadRequestError(f"{model}: takes {', '.join(about.inputs)}, no one item: call infer", "", model)
        inputs = {about.inputs[0]: tensors.bytes_array(items)}
        arrays = yield from self.infer(model, inputs, ("label", "score"), **options)
        pairs = zip(arrays["label"].reshape(-1), arrays["score"].reshape(-1), strict=True)
        return [Label(label.decode("utf-8", "replace"), float(score)) for label, score in pairs]

    def embed(self, texts: Sequence[str], model: str, options: Mapping[str, Any]) -> Steps:
        """The embedding of each text; see Client.embed."""
        if not texts:
            return np.empty((0, 0), np.float32)
        inputs = {"text": tensors.bytes_array([text.encode() for text in texts])}
        arrays = yield from self.infer(model, inputs, **options)
        for array in arrays.values():
            if array.ndim == 2 and array.dtype == np.float32:
                return array
        gives = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items())
        raise BadAnswerError(f"{model}: gives {gives}, wanted a vector for each text", "", model)

    def _run(self, call: Infer, ends: float) -> Steps:
        segments = self.segments
        if segments is None or (size_of(call.tensors) < WORTH_IT_BYTES and not self.shared_memory):
            answer: Answer = yield from self.call(call, ends - time.monotonic())
            return _arrays(call, answer)
        key = key_of(call.model, call.version, call.outputs, call.tensors)
        sizes = segments.sizes.get(key, {})
        segment = segments.borrow(aligned([*(len(raw.data) for raw in call.tensors), *sizes.values()]))
        is_done = False
        try:
            arrays = yield from self._through(segment, sizes, call, ends)
            is_done = True
        except (BadRequestError, ModelNotFoundError):
            is_done = True  # the server is through with it
            raise
        finally:
            if is_done:  # else the server may still read or write there: the piece is never lent again
                segments.give_back(segment)
        if arrays is None:
            return (yield from self._run(call, ends))
        segments.sizes[key] = {name: 0 if array.dtype == np.object_ else array.nbytes for name, array in arrays.items()}
        return arrays

    def _through(self, segment: Segment, sizes: Mapping[str, int], call: Infer, ends: float) -> Steps:
        """The call through shared memory; None where the server does not allow it and the wire must do."""
        segments = self.segments
        assert segments is not None
        for is_last in (False, True):
            if not segment.is_registered:
                register = Register(segment.name, segment.key, segment.memory.size, call.headers)
                try:
                    yield from self.call(register, ends - time.monotonic())
                except (NoServerError, DeadlineError):
                    raise
                except InferenceError as err:
                    if self.shared_memory:
                        raise SharedMemoryError(
                            f"{self.url}: the server refuses shared memory ({err}); start it with "
                            "--allow-client-shm=true where it has that option, or leave shared_memory out",
                            err.status,
                            call.model,
                        ) from err
                    self.segments = None
                    segments.remove()
                    return None
                segment.is_registered = True
            inputs_at, end = segment.write(call.tensors)
            outputs_at = _places(segment, sizes, end)
            names = call.outputs or tuple(sizes)
            through = replace(call, inputs_at=inputs_at, outputs_at=outputs_at, outputs=names)
            try:
                answer = yield from self.call(through, ends - time.monotonic())
            except BadRequestError as err:
                if is_last or "shared memory" not in str(err).lower():
                    raise
                segments.forget_registrations()  # a server that was restarted knows none of them
                segments.sizes.clear()  # or an output has outgrown its place
                sizes = {}
            else:
                return _arrays(call, answer, segment, outputs_at)
        raise AssertionError("the second try returns or raises")


def _places(segment: Segment, sizes: Mapping[str, int], at: int) -> dict[str, Region]:
    places = {}
    for name, size in sizes.items():
        if not size:  # strings differ in length from one answer to the next
            continue
        places[name] = Region(segment.name, at, size)
        at += aligned([size])
    return places


def _arrays(
    call: Infer, answer: Answer, segment: Segment | None = None, outputs_at: Mapping[str, Region] | None = None
) -> dict[str, NDArray[Any]]:
    """The outputs in the order asked for. Raises BadAnswerError when one is missing or cut short."""
    if missing := [name for name in call.outputs if name not in answer.tensors]:
        raise BadAnswerError(
            f"{call.model}: the server's answer has no {missing[0]}, only {', '.join(answer.tensors) or 'nothing'}",
            "",
            call.model,
        )
    arrays = {}
    for name in call.outputs or answer.tensors:
        raw: Raw = answer.tensors[name]
        if segment and outputs_at and name in outputs_at:
            raw = raw._replace(data=segment.read(outputs_at[name], outputs_at[name].size))
        arrays[name] = tensors.array_from_raw(raw)
    return arrays


def _check_rows(model: str, batch: Arrays, arrays: Arrays) -> None:
    """Answers to parts of a batch can only be joined when each has a row for each row."""
    rows = tensors.rows_of(batch)
    if uneven := next((name for name, array in arrays.items() if not array.ndim or array.shape[0] != rows), None):
        shape = list(arrays[uneven].shape)
        raise BadAnswerError(f"{model}: {rows} rows were sent and {uneven} came as {shape}: send one batch", "", model)
