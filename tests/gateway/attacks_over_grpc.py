"""gRPC messages that say one thing to the gateway and another to Triton, each with the status numbers that may come."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.attackers import Target, called

Attack = Callable[[Target], int]
SERVICE = "/inference.GRPCInferenceService/"
INFER = SERVICE + "ModelInfer"
# What the gateway may answer: a message that is not one, or one that asks for too much; never OK.
INVALID, FORBIDDEN, UNIMPLEMENTED, TOO_MUCH = 3, 7, 12, 8
BROKEN = {INVALID, FORBIDDEN}
BROKEN_OFF = 2  # UNKNOWN: the stream was ended before its answer began, which HAProxy calls an error of its own
CUT = 1  # CANCELLED: a stream whose answer had begun already, so that no status could be put in its place


def message(model: str, size: int = 2, **more: object) -> bytes:
    asked = pb.ModelInferRequest(model_name=model, **more)
    asked.inputs.add(name="IN", datatype="UINT8", shape=[size])
    asked.raw_input_contents.append(bytes(size))
    return asked.SerializeToString()


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value: int, padding: int = 0) -> bytes:
    """`padding`: so many bytes more than it needs, which protobuf's readers take all the same."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 128
        out.append(0)
    return bytes(out)


ECHO, HIDDEN = field(1, b"echo"), field(1, b"hidden")
TENSORS = message("echo")[len(ECHO) :]


def sends(*messages: bytes, method: str = INFER) -> Attack:
    return lambda target: called(target, method, *messages)


def with_header(*metadata: tuple[str, str], model: str = "hidden") -> Attack:
    return lambda target: called(
        target, INFER, message(model), metadata=[("authorization", f"Bearer {target.token}"), *metadata]
    )


def shared_memory() -> bytes:
    asked = pb.ModelInferRequest(model_name="echo")
    tensor = asked.inputs.add(name="IN", datatype="UINT8", shape=[2])
    tensor.parameters["shared_memory_region"].string_param = "r"
    tensor.parameters["shared_memory_byte_size"].int64_param = 2
    return asked.SerializeToString()


GRPC: dict[str, tuple[Attack, set[int]]] = {
    "another model": (sends(message("hidden")), {FORBIDDEN}),
    "named twice, the allowed one first": (sends(ECHO + HIDDEN + TENSORS), BROKEN),
    "named twice, the allowed one last": (sends(HIDDEN + ECHO + TENSORS), BROKEN),
    "named again behind the tensors": (sends(message("echo") + HIDDEN), BROKEN),
    "named again behind 300 kB": (sends(message("echo", 300_000) + HIDDEN), BROKEN),
    "named again behind 900 kB": (sends(message("echo", 900_000) + HIDDEN), BROKEN),
    "named again in the same letters": (sends(ECHO + ECHO + TENSORS), BROKEN),
    "named again by a long tag": (sends(ECHO + varint(1 << 3 | 2, 2) + varint(6) + b"hidden" + TENSORS), BROKEN),
    "named again by a long length": (sends(ECHO + bytes([10]) + varint(6, 2) + b"hidden" + TENSORS), BROKEN),
    "named only behind the tensors": (sends(TENSORS + HIDDEN), BROKEN),
    "named after a field that nobody knows": (sends(field(15, b"x") + HIDDEN + TENSORS), BROKEN),
    "named inside a group": (sends(b"\x7b" + ECHO + b"\x7c" + HIDDEN + TENSORS), BROKEN),
    "named as a number": (sends(b"\x08\x01" + HIDDEN + TENSORS), BROKEN),
    "an empty name": (sends(message("")), BROKEN),
    "no message at all": (sends(b""), BROKEN),
    "a name that is no text": (sends(field(1, b"\xff\xfe") + TENSORS), BROKEN),
    "a name with a zero byte": (sends(field(1, b"echo\0hidden") + TENSORS), BROKEN),
    "a length past the end": (sends(b"\x0a\x7fecho"), BROKEN),
    "a version twice": (sends(ECHO + field(2, b"1") + field(2, b"2") + TENSORS), BROKEN),
    "a compressed message": (
        lambda target: called(target, INFER, message("echo", 5000), compression=grpc.Compression.Gzip),
        {INVALID, UNIMPLEMENTED},
    ),
    "a body over the limit": (sends(message("echo", 2 << 20)), {TOO_MUCH}),
    "shared memory as parameter": (sends(shared_memory()), BROKEN),
    "a second message of a stream": (
        sends(message("echo"), message("hidden"), method=SERVICE + "ModelStreamInfer"),
        {FORBIDDEN, INVALID, CUT, BROKEN_OFF},
    ),
    "a stream to another model": (sends(message("hidden"), method=SERVICE + "ModelStreamInfer"), {FORBIDDEN, INVALID}),
    "another model's config": (
        sends(pb.ModelConfigRequest(name="hidden").SerializeToString(), method=SERVICE + "ModelConfig"),
        {FORBIDDEN},
    ),
    "the statistics of all": (sends(b"", method=SERVICE + "ModelStatistics"), {FORBIDDEN}),
    "the repository's index": (sends(b"", method=SERVICE + "RepositoryIndex"), {FORBIDDEN}),
    "to load a model": (
        sends(
            pb.RepositoryModelLoadRequest(model_name="echo").SerializeToString(), method=SERVICE + "RepositoryModelLoad"
        ),
        {FORBIDDEN},
    ),
    "the log's settings": (sends(b"", method=SERVICE + "LogSettings"), {FORBIDDEN}),
    "the trace's settings": (sends(b"", method=SERVICE + "TraceSetting"), {FORBIDDEN}),
    "to register shared memory": (sends(b"", method=SERVICE + "SystemSharedMemoryRegister"), {UNIMPLEMENTED}),
    "to register a GPU's memory": (sends(b"", method=SERVICE + "CudaSharedMemoryRegister"), {UNIMPLEMENTED}),
    "a method that nobody named": (sends(b"", method=SERVICE + "Nothing"), {UNIMPLEMENTED}),
    "a method in other letters": (sends(message("echo"), method=SERVICE + "modelInfer"), {UNIMPLEMENTED}),
    "reflection": (sends(b"", method="/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), {UNIMPLEMENTED}),
    "a REST path": (sends(b"", method="/v2/models/hidden/config"), {UNIMPLEMENTED}),
    "a user of one's own": (with_header(("x-user", "root")), {FORBIDDEN}),
    "rights of one's own": (with_header(("x-user-may-infer", "*")), {FORBIDDEN}),
    "rights of one's own in disguise": (with_header(("x-user_may-infer", "*"), model="echo"), {INVALID}),
    "the secret of the restricted APIs, guessed": (
        with_header(("triton-grpc-protocol-ai102-secret", "guess")),
        {FORBIDDEN, INVALID},
    ),
    "two authorizations": (
        lambda target: called(
            target,
            INFER,
            message("echo"),
            metadata=[("authorization", f"Bearer {target.token}"), ("authorization", "Bearer x")],
        ),
        {INVALID, 16},
    ),
}
