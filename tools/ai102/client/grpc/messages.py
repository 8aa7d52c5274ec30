"""Calls as messages of Triton's gRPC service, and its answers; no network here."""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as pb

from ai102.client.calls import (  # fmt: skip
    Answer,
    Call,
    Config,
    Describe,
    Description,
    Index,
    Infer,
    Load,
    ModelState,
    Region,
    Register,
    Statistics,
    Unregister,
    Version,
)
from ai102.client.errors import BadRequestError
from ai102.client.tensors import Raw

# The limit of one message: protobuf counts up to 2 GB less one byte.
MAX_BYTES = (1 << 31) - 1


class GrpcRequest(NamedTuple):
    method: str  # of the stub
    message: Any


def grpc_request(call: Call) -> GrpcRequest:
    """Raises BadRequestError for tensors that are too large for a message."""
    match call:
        case Infer():
            return GrpcRequest("ModelInfer", _infer(call))
        case Describe(model=model) | Config(model=model):
            return GrpcRequest("ModelConfig", pb.ModelConfigRequest(name=model))
        case Version():
            return GrpcRequest("ServerMetadata", pb.ServerMetadataRequest())
        case Index():
            return GrpcRequest("RepositoryIndex", pb.RepositoryIndexRequest())
        case Load():
            return GrpcRequest("RepositoryModelLoad", _load(call))
        case Statistics(model=model):
            return GrpcRequest("ModelStatistics", pb.ModelStatisticsRequest(name=model))
        case Register():
            message = pb.SystemSharedMemoryRegisterRequest(name=call.region, key=call.key, byte_size=call.size)
            return GrpcRequest("SystemSharedMemoryRegister", message)
        case Unregister():
            message = pb.SystemSharedMemoryUnregisterRequest(name=call.region)
            return GrpcRequest("SystemSharedMemoryUnregister", message)


def grpc_answer(call: Call, message: Any) -> Any:
    match call:
        case Infer():
            return _answer(message)
        case Describe():
            config = message.config
            inputs, outputs = (tuple(tensor.name for tensor in kind) for kind in (config.input, config.output))
            return Description(config.max_batch_size, inputs, outputs)
        case Config():
            return message.config
        case Version():
            return message.version
        case Index():
            return [ModelState(row.name, row.version, row.state, row.reason) for row in message.models]
        case Statistics():
            # Numbers of 64 bits are strings in protobuf's JSON; over HTTP Triton writes numbers.
            return _numbers(MessageToDict(message, preserving_proto_field_name=True).get("model_stats", []))
        case _:
            return None


def _load(call: Load) -> Any:
    message = pb.RepositoryModelLoadRequest(model_name=call.model)
    if call.config:
        message.parameters["config"].string_param = call.config
        for path, content in call.files.items():
            message.parameters[f"file:{path}"].bytes_param = content
    return message


def _infer(call: Infer) -> Any:
    if sum(len(raw.data) for raw in call.tensors if raw.name not in call.inputs_at) > MAX_BYTES:
        raise BadRequestError(f"{call.model}: more than 2 GB in one request: send fewer rows at once", "", call.model)
    message = pb.ModelInferRequest(model_name=call.model, model_version=call.version, id=call.request_id)
    for key, value in call.parameters.items():
        _set(message.parameters[key], value)
    for raw in call.tensors:
        tensor = message.inputs.add(name=raw.name, datatype=raw.datatype, shape=raw.shape)
        if region := call.inputs_at.get(raw.name):
            _place(tensor.parameters, region)
        else:
            message.raw_input_contents.append(bytes(raw.data))
    for name in call.outputs:
        output = message.outputs.add(name=name)
        if call.class_count:
            output.parameters["classification"].int64_param = call.class_count
        if name in call.outputs_at:
            _place(output.parameters, call.outputs_at[name])
    return message


def _answer(message: Any) -> Answer:
    tensors, contents = {}, iter(message.raw_output_contents)
    for output in message.outputs:
        is_elsewhere = "shared_memory_region" in output.parameters
        data = b"" if is_elsewhere else next(contents, b"")
        tensors[output.name] = Raw(output.name, output.datatype, tuple(output.shape), data)
    return Answer(message.model_name, message.model_version, message.id, tensors)


def _place(parameters: Any, region: Region) -> None:
    parameters["shared_memory_region"].string_param = region.name
    parameters["shared_memory_offset"].int64_param = region.offset
    parameters["shared_memory_byte_size"].int64_param = region.size


def _set(parameter: Any, value: Any) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case _:
            parameter.string_param = str(value)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: inner if key in ("name", "version") else _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return int(value) if isinstance(value, str) and value.isdigit() else value
