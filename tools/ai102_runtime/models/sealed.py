"""Triton model: a sealed request in, a sealed answer out; between them the ensemble that it asks inside the server.

Keys: the environment (AI102_SEAL_KEY_<ID>), or the folder AI102_SEAL_KEYS, by default build/gateway/keys.
The memory of requests: the folder AI102_SEAL_SEEN of this host, by default /dev/shm/ai102-seal-UID, or the folder
AI102_SEAL_SEEN_SHARED that several hosts mount. A request is taken once by all replicas that share a memory.

Without keys or without a memory the model loads and answers every request with UNAVAILABLE, so that a repository serves
its other models all the same; it tries again with each request. An error of the ensemble goes back sealed.
"""

import asyncio
import json
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime.data_types import BY_NAME, BY_NUMPY
from ai102_runtime.seal.envelope import Opened, Ring, SealError, Seen, open_request, seal_response
from ai102_runtime.seal.failures import code_and_sentence, text_from_sentence
from ai102_runtime.seal.keys import KeyFolder, KeysError, keys_from_environment
from ai102_runtime.seal.replay import memory_from_environment
from ai102_runtime.seal.tensors import (
    Tensor,
    bytes_from_elements,
    bytes_from_tensors,
    elements_from_bytes,
    tensors_from_bytes,
)

KEYS = "build/gateway/keys"
NO_KEYS = "this server has no keys for sealed payloads yet"
NO_MEMORY = "this server cannot remember sealed requests now, so it takes none"
NOT_SEALED = "the answer could not be sealed"
DEFECT = "the sealed request failed inside the server"


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.name = args["model_name"]
        self.inside = config["parameters"]["model"]["string_value"]
        self.outputs = config["parameters"]["outputs"]["string_value"].split(",")
        self.has_batch = int(config["max_batch_size"]) > 0
        self.keys: Ring | None = None
        self.seen: Seen | None = None
        self.problem = ""
        self.prepare()

    def prepare(self) -> str:
        """Get keys and memory where they are missing; what to tell callers, "" once both are there."""
        try:
            if self.keys is None:
                self.keys = ring_from_environment()
            if self.seen is None:
                self.seen = memory_from_environment(os.environ)
        except KeysError as err:
            self.warn_once(str(err))
            return NO_KEYS
        except SealError as err:
            self.warn_once(err.detail)
            return NO_MEMORY
        return ""

    def warn_once(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            pb_utils.Logger.log_warn(f"{self.name}: no request can be opened: {problem}")

    async def execute(self, requests: Sequence[Any]) -> list[Any]:
        answers = await asyncio.gather(*map(self.answer, requests), return_exceptions=True)
        return [self.refusal_of_defect(one) if isinstance(one, BaseException) else one for one in answers]

    def refusal_of_defect(self, error: BaseException) -> Any:
        """One request failed and its neighbours did not. The error's own words may quote the payload."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        pb_utils.Logger.log_error(f"{self.name}: {type(error).__name__} in {where}")
        return refusal(DEFECT, "INTERNAL")

    async def answer(self, request: Any) -> Any:
        if problem := self.prepare():
            return refusal(problem, "UNAVAILABLE")
        assert self.keys is not None
        assert self.seen is not None
        envelopes = request.inputs()[0].as_numpy().reshape(-1)
        if len(envelopes) != 1:
            return refusal("send one envelope a request", "INVALID_ARG")
        try:
            opened = open_request(self.keys, envelopes[0], self.name, self.seen, now_ms())
        except SealError as err:
            pb_utils.Logger.log_warn(f"{self.name}: sealed request refused ({err.code}: {err.detail})")
            return refusal(NO_MEMORY, "UNAVAILABLE") if err.code == "memory" else refusal(str(err), "INVALID_ARG")
        try:
            inputs = [array_tensor(tensor) for tensor in tensors_from_bytes(opened.data)]
        except SealError as err:
            return self.sealed_refusal(self.keys, opened, err.detail, "INVALID_ARG")
        return await self.sealed_answer(self.keys, opened, inputs)

    async def sealed_answer(self, keys: Ring, opened: Opened, inputs: list[Any]) -> Any:
        answer = await pb_utils.InferenceRequest(
            model_name=self.inside,
            requested_output_names=self.outputs,
            inputs=inputs,
            request_id=opened.request_id,
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        ).async_exec()
        if answer.has_error():
            code, sentence = code_and_sentence(answer.error().message())
            return self.sealed_refusal(keys, opened, sentence, code)
        try:
            data = bytes_from_tensors([plain_tensor(tensor) for tensor in answer.output_tensors()])
        except SealError as err:
            return self.sealed_refusal(keys, opened, err.detail, "UNSUPPORTED")
        try:
            envelope = seal_response(keys, opened.head, data, now_ms())
        except SealError as err:
            return self.refusal_not_sealed(err, "INTERNAL")
        array = np.array([envelope], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("envelope", array[None] if self.has_batch else array)])

    def sealed_refusal(self, keys: Ring, opened: Opened, sentence: str, code: str) -> Any:
        try:
            return refusal(text_from_sentence(keys, opened.head, sentence, now_ms()), code)
        except SealError as err:
            return self.refusal_not_sealed(err, code)

    def refusal_not_sealed(self, err: SealError, code: str) -> Any:
        pb_utils.Logger.log_error(f"{self.name}: answer not sealed ({err.code}: {err.detail})")
        return refusal(NOT_SEALED, code)


def ring_from_environment() -> Ring:
    """The keys of the environment if it has any, else those of the folder. Raises KeysError."""
    from_environment = keys_from_environment(os.environ)
    if from_environment.ids:
        return from_environment
    return KeyFolder(Path(os.environ.get("AI102_SEAL_KEYS", KEYS)), pb_utils.Logger.log_warn)


def array_tensor(tensor: Tensor) -> Any:
    """For the server; raises SealError for a type that numpy lacks."""
    if tensor.datatype == "BYTES":
        array = np.array(elements_from_bytes(tensor.data), dtype=np.object_)
    elif tensor.datatype == "BF16":
        raise SealError("format", f"{tensor.name} is BF16, which sealed requests do not carry: send it as FP32")
    else:
        array = np.frombuffer(tensor.data, BY_NAME[tensor.datatype].numpy_name)
    return pb_utils.Tensor(tensor.name, array.reshape(tensor.shape))


def plain_tensor(tensor: Any) -> Tensor:
    """For the envelope; raises SealError for a type that numpy lacks."""
    try:
        array = tensor.as_numpy()
    except pb_utils.TritonModelException as err:  # BF16
        raise SealError("format", f"{tensor.name()} is of a type that sealed answers do not carry") from err
    if array.dtype == np.object_:
        elements = [bytes(item) for item in array.reshape(-1)]
        return Tensor(tensor.name(), "BYTES", array.shape, bytes_from_elements(elements))
    if (data_type := BY_NUMPY.get(array.dtype.name)) is None:
        raise SealError("format", f"{tensor.name()} is {array.dtype.name}, which sealed answers do not carry")
    return Tensor(tensor.name(), data_type.name, array.shape, np.ascontiguousarray(array).tobytes())


def refusal(message: str, code: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, getattr(pb_utils.TritonError, code)))


def now_ms() -> int:
    return time.time_ns() // 1_000_000
