"""Triton model: a sealed request in, a sealed answer out; between them the ensemble that it asks inside the server.

Keys come from the environment (AI102_SEAL_KEY_<ID>) or the folder AI102_SEAL_KEYS, by default build/gateway/keys;
requests that came before are remembered for all replicas of this host in the file AI102_SEAL_SEEN. Without keys the
model loads and refuses every request, so that a repository serves its other models all the same.
"""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime.data_types import BY_NAME, BY_NUMPY
from ai102_runtime.seal.envelope import Opened, Ring, SealError, open_request, seal_response
from ai102_runtime.seal.keys import KeyFolder, KeysError, keys_from_environment
from ai102_runtime.seal.replay import OnThisHost
from ai102_runtime.seal.tensors import (
    Tensor,
    bytes_from_elements,
    bytes_from_tensors,
    elements_from_bytes,
    tensors_from_bytes,
)

KEYS = "build/gateway/keys"
SEEN = f"/dev/shm/ai102-seal-{os.getuid()}.sqlite"


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.name = args["model_name"]
        self.inside = config["parameters"]["model"]["string_value"]
        self.outputs = config["parameters"]["outputs"]["string_value"].split(",")
        self.has_batch = int(config["max_batch_size"]) > 0
        self.seen = OnThisHost(Path(os.environ.get("AI102_SEAL_SEEN", SEEN)))
        self.keys: Ring | None = None
        try:
            self.keys = self.found_keys()
        except KeysError as err:
            pb_utils.Logger.log_warn(f"{self.name}: no request can be opened: {err}")

    def found_keys(self) -> Ring:
        """Raises KeysError."""
        from_environment = keys_from_environment(os.environ)
        if from_environment.ids:
            return from_environment
        return KeyFolder(Path(os.environ.get("AI102_SEAL_KEYS", KEYS)), pb_utils.Logger.log_warn)

    async def execute(self, requests: Sequence[Any]) -> list[Any]:
        return await asyncio.gather(*map(self.answer, requests))

    async def answer(self, request: Any) -> Any:
        try:
            if self.keys is None:
                self.keys = self.found_keys()
        except KeysError:
            return refusal("this server has no keys for sealed payloads yet", pb_utils.TritonError.UNAVAILABLE)
        envelopes = request.inputs()[0].as_numpy().reshape(-1)
        if len(envelopes) != 1:
            return refusal("send one envelope a request", pb_utils.TritonError.INVALID_ARG)
        try:
            opened = open_request(self.keys, envelopes[0], self.name, self.seen, now_ms())
            asked = [array_tensor(tensor) for tensor in tensors_from_bytes(opened.data)]
        except SealError as err:
            pb_utils.Logger.log_warn(f"{self.name}: sealed request refused ({err.code}: {err.detail})")
            return refusal(str(err), pb_utils.TritonError.INVALID_ARG)
        return await self.sealed_answer(self.keys, opened, asked)

    async def sealed_answer(self, keys: Ring, opened: Opened, asked: list[Any]) -> Any:
        found = await pb_utils.InferenceRequest(
            model_name=self.inside,
            requested_output_names=self.outputs,
            inputs=asked,
            request_id=opened.request_id,
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        ).async_exec()
        if found.has_error():
            return pb_utils.InferenceResponse(error=found.error())
        tensors = [plain_tensor(tensor) for tensor in found.output_tensors()]
        try:
            envelope = seal_response(keys, opened.head, bytes_from_tensors(tensors), now_ms())
        except SealError as err:
            pb_utils.Logger.log_error(f"{self.name}: answer not sealed ({err.code}: {err.detail})")
            return refusal("the answer could not be sealed", pb_utils.TritonError.INTERNAL)
        array = np.array([envelope], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("envelope", array[None] if self.has_batch else array)])


def array_tensor(tensor: Tensor) -> Any:
    """For the server; raises SealError for a type that numpy lacks."""
    if tensor.datatype == "BYTES":
        array = np.array(elements_from_bytes(tensor.data), dtype=np.object_)
    elif tensor.datatype == "BF16":
        raise SealError("format", f"{tensor.name} is BF16")
    else:
        array = np.frombuffer(tensor.data, BY_NAME[tensor.datatype].numpy_name)
    return pb_utils.Tensor(tensor.name, array.reshape(tensor.shape))


def plain_tensor(tensor: Any) -> Tensor:
    array = tensor.as_numpy()
    if array.dtype == np.object_:
        elements = [bytes(item) for item in array.reshape(-1)]
        return Tensor(tensor.name(), "BYTES", array.shape, bytes_from_elements(elements))
    return Tensor(tensor.name(), BY_NUMPY[array.dtype.name].name, array.shape, np.ascontiguousarray(array).tobytes())


def refusal(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def now_ms() -> int:
    return time.time_ns() // 1_000_000
