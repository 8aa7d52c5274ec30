"""Requests to Triton, encoded once and sent many times: HTTP, gRPC, and gRPC with inputs in shared memory."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import grpc
import grpc.aio
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from loadtest.bench.load import TIMEOUT_S, Answer, Connect, HttpRequest, Send
from loadtest.bench.works import Arrays

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Each round has its own connection.
    ("grpc.use_local_subchannel_pool", 1),
)


def http_requests(samples: Sequence[Arrays], outputs: Sequence[str], class_count: int = 0) -> list[HttpRequest]:
    """Requests with binary inputs and outputs; with `class_count` outputs are replaced by their best labels."""
    requests = []
    for arrays in samples:
        inputs = []
        for name, array in arrays.items():
            inputs.append(triton_http.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array, binary_data=True)
        requested = [
            triton_http.InferRequestedOutput(name, binary_data=True, class_count=class_count) for name in outputs
        ]
        body, json_size = triton_http.InferenceServerClient.generate_request_body(inputs, outputs=requested)
        headers = {"Content-Type": "application/octet-stream"}
        if json_size is not None:
            headers["Inference-Header-Content-Length"] = str(json_size)
        requests.append(HttpRequest(bytes(body), headers))
    return requests


def arrays_from_http(answer: Answer, outputs: Sequence[str]) -> dict[str, Any]:
    size = answer.headers.get("Inference-Header-Content-Length")
    result = triton_http.InferenceServerClient.parse_response_body(
        answer.body, header_length=None if size is None else int(size)
    )
    return {name: result.as_numpy(name) for name in outputs}


def arrays_from_grpc(body: bytes, outputs: Sequence[str]) -> dict[str, Any]:
    result = triton_grpc.InferResult(service_pb2.ModelInferResponse.FromString(body))
    return {name: result.as_numpy(name) for name in outputs}


def grpc_connect(model: str, samples: Sequence[Arrays], outputs: Sequence[str], class_count: int = 0) -> Connect:
    requests = [_message(model, arrays, outputs, class_count).SerializeToString() for arrays in samples]

    @asynccontextmanager
    async def connect(address: str, slots: int) -> AsyncIterator[Send]:
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            infer = channel.unary_unary(METHOD)  # bytes in and out: no time is spent on protobuf messages

            async def send(slot: int, sample: int) -> bytes:
                answer: bytes = await infer(requests[sample % len(requests)], timeout=TIMEOUT_S)
                return answer

            yield send

    return connect


def shared_memory_connect(
    model: str, samples: Sequence[Arrays], outputs: Sequence[str], class_count: int = 0
) -> Connect:
    """gRPC with inputs copied into one region for each request in flight; outputs are in the response."""
    raw = [{name: _raw(array) for name, array in arrays.items()} for arrays in samples]
    size = max(sum(len(data) for data in parts.values()) for parts in raw)

    @asynccontextmanager
    async def connect(address: str, slots: int) -> AsyncIterator[Send]:
        regions = [SharedMemory(f"bench_{uuid.uuid4().hex[:12]}", create=True, size=size) for _ in range(slots)]
        client = triton_grpc.InferenceServerClient(address)
        try:
            for region in regions:
                await asyncio.to_thread(client.register_system_shared_memory, region.name, f"/{region.name}", size)
            requests = [
                [_message(model, arrays, outputs, class_count, region.name).SerializeToString() for arrays in samples]
                for region in regions
            ]
            async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
                infer = channel.unary_unary(METHOD)

                async def send(slot: int, sample: int) -> bytes:
                    place, at = sample % len(raw), 0
                    view = regions[slot].buf
                    for data in raw[place].values():
                        view[at : at + len(data)] = data
                        at += len(data)
                    answer: bytes = await infer(requests[slot][place], timeout=TIMEOUT_S)
                    return answer

                yield send
        finally:
            await asyncio.to_thread(client.unregister_system_shared_memory)
            client.close()
            for region in regions:
                region.close()
                region.unlink()

    return connect


def _raw(array: Any) -> bytes:
    if array.dtype == np.object_:
        serialized: bytes = serialize_byte_tensor(array).item()
        return serialized
    data: bytes = array.tobytes()
    return data


def _message(model: str, arrays: Arrays, outputs: Sequence[str], class_count: int, region: str = "") -> Any:
    message = service_pb2.ModelInferRequest(model_name=model)
    at = 0
    for name, array in arrays.items():
        data = _raw(array)
        tensor = message.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        if region:
            tensor.parameters["shared_memory_region"].string_param = region
            tensor.parameters["shared_memory_byte_size"].int64_param = len(data)
            tensor.parameters["shared_memory_offset"].int64_param = at
            at += len(data)
        else:
            message.raw_input_contents.append(data)
    for name in outputs:
        output = message.outputs.add(name=name)
        if class_count:
            output.parameters["classification"].int64_param = class_count
    return message
