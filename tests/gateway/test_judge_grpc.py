"""gRPC bodies at the gateway: the model that Triton will read is the one judged, however the bytes are laid."""

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from tests.gateway.judge_core import SERVICE, core, in_both_luas

INFER, STREAM = SERVICE + "ModelInfer", SERVICE + "ModelStreamInfer"
CLASSES = {"classes": {"o": True}, "max_elements": 1000}
MALFORMED, LARGE, KIND = "malformed", "too_large", "unsupported_media_type"
Request = service_pb2.ModelInferRequest


def frame(message: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message)) + message


def request(name: str = "a", version: str = "", **more: Any) -> bytes:
    message = Request(model_name=name, model_version=version, **more)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[2, 3])
    tensor.parameters["p"].int64_param = 1
    message.outputs.add(name="o").parameters["binary_data"].bool_param = True
    message.raw_input_contents.append(bytes(24))
    return bytes(message.SerializeToString())


def built(change: Callable[[Any], Any]) -> bytes:
    message = Request.FromString(request())
    change(message)
    return bytes(message.SerializeToString())


def with_parameter(name: str, where: Callable[[Any], Any]) -> bytes:
    def change(message: Any) -> None:
        where(message).parameters[name].int64_param = 1

    return built(change)


def of_request(message: Any) -> Any:
    return message


def of_input(message: Any) -> Any:
    return message.inputs[0]


def of_output(message: Any) -> Any:
    return message.outputs[0]


def load(parameter: str) -> bytes:
    message = service_pb2.RepositoryModelLoadRequest(model_name="a")
    message.parameters[parameter].bytes_param = b"x"
    return bytes(message.SerializeToString())


def classes_of_string(message: Any) -> None:
    message.outputs.add(name="s").parameters["classification"].int64_param = 1


def classes_of_nothing(message: Any) -> None:
    message.outputs[0].parameters["classification"].int64_param = 1
    message.inputs[0].shape.append(0)


LOAD = SERVICE + "RepositoryModelLoad"
TWO_NAMES = b"\x12\x10\x0a\x0eclassification\x0a\x01o\x0a\x01s"
NAME = b"\x0a\x01a"
GOOD = frame(request())
LONG = request() + b"\x3a\x90\x4e" + bytes(10_000)

# what, method, body, answer of the scanner that was told model "a"
TABLE: list[tuple[str, str, bytes, str | None]] = [
    ("as the client writes it", INFER, GOOD, None),
    ("only the name", INFER, frame(NAME), None),
    ("name last", INFER, frame(request()[3:] + NAME), None),
    ("an unknown field", INFER, frame(request() + b"\xfa\x07\x03abc"), None),
    ("an unknown number", INFER, frame(request() + b"\xf8\x07\x05"), None),
    ("unknown fixed numbers", INFER, frame(request() + b"\xf9\x07" + bytes(8) + b"\xfd\x07" + bytes(4)), None),
    ("another model", INFER, frame(request("b")), MALFORMED),
    ("another model later", INFER, frame(request() + b"\x0a\x01b"), MALFORMED),
    ("another model before", INFER, frame(b"\x0a\x01b" + request()), MALFORMED),
    ("the same model twice", INFER, frame(request() + NAME), MALFORMED),
    ("no model", INFER, frame(request()[3:]), MALFORMED),
    ("nothing", INFER, frame(b""), MALFORMED),
    ("no message", INFER, b"", MALFORMED),
    ("an empty name", INFER, frame(b"\x0a\x00"), MALFORMED),
    ("a name with NUL, which Triton cuts off", INFER, frame(b"\x0a\x03a\0b"), MALFORMED),
    ("name of the wrong type", INFER, frame(b"\x08\x05" + request()), MALFORMED),
    ("a version nobody judged", INFER, frame(request(version="2")), MALFORMED),
    ("version empty", INFER, frame(request() + b"\x12\x00"), None),
    ("version twice", INFER, frame(request() + b"\x12\x00\x12\x00"), MALFORMED),
    ("tag written long", INFER, frame(request() + b"\x8a\x80\x80\x80\x00\x01b"), MALFORMED),
    ("tag with bits too many", INFER, frame(request() + b"\x8a\x80\x80\x80\x70\x01b"), MALFORMED),
    ("length written long", INFER, frame(b"\x0a\x81\x00a"), MALFORMED),
    ("tag without end", INFER, frame(request() + b"\xff" * 11), MALFORMED),
    ("field zero", INFER, frame(request() + b"\x02\x00"), MALFORMED),
    ("a group", INFER, frame(request() + b"\xfb\x01\xfc\x01"), MALFORMED),
    ("groups within groups", INFER, frame(request() + b"\xfb\x01" * 1000), MALFORMED),
    ("wire type 7", INFER, frame(request() + b"\xff\x01"), MALFORMED),
    ("a field longer than the message", INFER, frame(request() + b"\x3a\x7f\x00") + bytes(200), MALFORMED),
    ("a tensor longer than the message", INFER, frame(request() + b"\x2a\x7f\x00") + bytes(200), MALFORMED),
    ("a map entry longer than its tensor", INFER, frame(request() + b"\x2a\x03\x22\x7f\x00") + bytes(200), MALFORMED),
    ("a number across the end", INFER, frame(request() + b"\x2a\x02\xf8\x07") + b"\x05", MALFORMED),
    ("fixed number across the end", INFER, frame(NAME + b"\xfd\x07\0") + bytes(9), MALFORMED),
    ("cut short", INFER, GOOD[:-1], MALFORMED),
    ("cut in the frame", INFER, GOOD[:3], MALFORMED),
    ("a second message", INFER, GOOD + GOOD, MALFORMED),
    ("junk after", INFER, GOOD + b"\0", MALFORMED),
    ("compressed", INFER, frame(request(), 1), KIND),
    ("a strange flag", INFER, frame(request(), 2), KIND),
    ("not gRPC at all", INFER, b'{"inputs": []}', KIND),
    ("too many fields", INFER, frame(NAME + b"\x22\x00" * 9000), MALFORMED),
    ("many tensors of many dimensions", INFER, frame(NAME + (b"\x2a\x12\x1a\x10" + b"\1" * 16) * 200), None),
    ("too many dimensions in all", INFER, frame(NAME + (b"\x2a\x12\x1a\x10" + b"\1" * 16) * 300), MALFORMED),
    ("shared memory in", INFER, frame(with_parameter("shared_memory_region", of_input)), MALFORMED),
    ("shared memory out", INFER, frame(with_parameter("shared_memory_region", of_output)), MALFORMED),
    ("shared memory's offset", INFER, frame(with_parameter("shared_memory_offset", of_output)), MALFORMED),
    ("a reserved name", INFER, frame(with_parameter("triton_x", of_request)), MALFORMED),
    ("the name of a header of ours", INFER, frame(with_parameter("X-User", of_request)), MALFORMED),
    ("and in another spelling", INFER, frame(with_parameter("x_user", of_request)), MALFORMED),
    ("empty final response", INFER, frame(with_parameter("triton_enable_empty_final_response", of_request)), None),
    ("a sequence", INFER, frame(with_parameter("sequence_id", of_request)), None),
    ("a reserved key second", INFER, frame(NAME + b"\x22\x09\x0a\x01p\x0a\x04x-ab"), MALFORMED),
    ("classes of scores", INFER, frame(with_parameter("classification", of_output)), None),
    ("classes of a string", INFER, frame(built(classes_of_string)), MALFORMED),
    ("classes of nothing", INFER, frame(built(classes_of_nothing)), MALFORMED),
    ("classes, name twice", INFER, frame(NAME + b"\x32\x18" + TWO_NAMES), MALFORMED),
    ("a tensor too large", INFER, frame(built(lambda m: m.inputs[0].shape.extend([1000]))), LARGE),
    ("a tensor of 2^64", INFER, frame(built(lambda m: m.inputs[0].shape.extend([1 << 32, 1 << 32]))), LARGE),
    ("a negative size", INFER, frame(built(lambda m: m.inputs[0].shape.extend([-1]))), MALFORMED),
    ("sizes not packed", INFER, frame(NAME + b"\x2a\x04\x18\x7f\x18\x7f"), LARGE),
    ("too many dimensions", INFER, frame(built(lambda m: m.inputs[0].shape.extend([1] * 40))), MALFORMED),
    ("a stream", STREAM, GOOD * 3, None),
    ("an empty stream", STREAM, b"", None),
    ("a stream with another model", STREAM, GOOD + frame(request("b")), MALFORMED),
    ("a stream with no model", STREAM, GOOD + frame(b""), MALFORMED),
    ("a stream that ends inside", STREAM, GOOD + GOOD[:-1], MALFORMED),
    ("ready", SERVICE + "ModelReady", frame(NAME), None),
    ("ready of two", SERVICE + "ModelReady", frame(NAME + NAME), MALFORMED),
    ("load", LOAD, frame(b"\x12\x01a"), None),
    ("load of two", LOAD, frame(b"\x12\x01a\x12\x01b"), MALFORMED),
    ("load with a file", LOAD, frame(load("file:1/model.onnx")), None),
    ("load with a configuration", LOAD, frame(load("config")), None),
    ("load outside", LOAD, frame(load("file:../../x.py")), MALFORMED),
    ("load outside, later", LOAD, frame(load("file:1/../../x.py")), MALFORMED),
    ("load at the root", LOAD, frame(load("file:/etc/x")), MALFORMED),
]  # fmt: skip


@in_both_luas
@pytest.mark.parametrize(("method", "body", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_body_passes_when_it_names_the_judged_model_once_and_nothing_reserved(
    lua: str, method: str, body: bytes, expected: str | None
) -> None:
    judge = core(lua)
    for size in (len(body) or 1, 7):
        chunks = [body[at : at + size] for at in range(0, len(body), size)] if size != 7 or len(body) < 5000 else [body]
        assert judge.ask("scan", method, "a", "", chunks, CLASSES) == expected, judge.reason


@in_both_luas
@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        (INFER, GOOD, {"name": "a", "version": ""}),
        (INFER, frame(request("a", "3")), {"name": "a", "version": "3"}),
        (INFER, frame(request("a", "3") + bytes(1 << 16))[:60], {"name": "a", "version": "3"}),
        (INFER, frame(bytes(1000))[:5], MALFORMED),
        (INFER, b"", MALFORMED),
        (INFER, frame(request("a", "03")), MALFORMED),
        (INFER, frame(request("a", "1x")), MALFORMED),
        (INFER, frame(request("../a")), MALFORMED),
        (SERVICE + "ModelStatistics", frame(b""), {"name": "*", "version": ""}),
        (SERVICE + "ModelStatistics", frame(b"\x0a\x00"), {"name": "*", "version": ""}),
        (SERVICE + "ModelStatistics", frame(b"\x0a\x01*"), MALFORMED),
        (SERVICE + "TraceSetting", frame(b"\x12\x01a"), {"name": "a", "version": ""}),
        (SERVICE + "RepositoryModelUnload", frame(b"\x0a\x01r\x12\x01a"), {"name": "a", "version": ""}),
    ],
)
def test_the_model_is_read_from_the_head_of_the_first_message(
    lua: str, method: str, body: bytes, expected: Any
) -> None:
    assert core(lua).ask("model_named", body, method) == expected


@in_both_luas
@pytest.mark.parametrize(
    ("chunks", "limits", "expected"),
    [
        ([GOOD], {}, {"name": "a", "version": ""}),
        ([frame(request("a", "3"))], {}, {"name": "a", "version": "3"}),
        ([frame(LONG)[:40], frame(LONG)[40:5000], frame(LONG)[5000:]], {}, {"name": "a", "version": ""}),
        ([frame(LONG)[:40], frame(LONG)[40:]], {"max_message_bytes": 9000}, LARGE),
        ([frame(LONG)], {"max_message_bytes": 9000}, LARGE),
        ([frame(LONG + b"\x12\x012")[:40], frame(LONG + b"\x12\x012")[40:]], {}, MALFORMED),
        ([frame(LONG + b"\x0a\x01b")[:40], frame(LONG + b"\x0a\x01b")[40:]], {}, MALFORMED),
        ([frame(LONG)[:40], frame(LONG)[40:9000]], {}, MALFORMED),
        ([frame(with_parameter("classification", of_output))], {}, MALFORMED),
        ([frame(with_parameter("classification", of_output))], CLASSES, {"name": "a", "version": ""}),
        ([frame(built(lambda m: m.inputs[0].shape.extend([1000])))], CLASSES, LARGE),
        ([frame(bytes(1000))[:5]], {}, MALFORMED),
    ],
)
def test_what_was_read_before_the_model_was_judged_is_judged_too(
    lua: str, chunks: list[bytes], limits: dict[str, Any], expected: Any
) -> None:
    assert core(lua).ask("scan_named", INFER, chunks, limits) == expected


@in_both_luas
def test_a_version_judged_must_come_and_no_other(lua: str) -> None:
    bodies = [frame(request("a", version)) for version in ("2", "1", "")] + [frame(request("a", "2") + b"\x12\x012")]
    answers = [core(lua).ask("scan", INFER, "a", "2", [body]) for body in bodies]
    assert answers == [None, MALFORMED, MALFORMED, MALFORMED]


@in_both_luas
def test_the_fields_that_name_a_model_are_those_of_tritons_own_descriptors(lua: str) -> None:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    expected = {"/grpc.health.v1.Health/Check": {"streams": False}}
    for method in service.methods:
        if "SharedMemory" in method.name:
            continue
        fields = {field.name: field.number for field in method.input_type.fields}
        row: dict[str, Any] = {"streams": method.client_streaming}
        if name := fields.get("model_name", fields.get("name")):
            row["name"] = name
        if version := fields.get("model_version", fields.get("version")):
            row["version"] = version
        expected[SERVICE + method.name] = row
    assert core(lua).ask("fields") == expected


def mutated(dice: random.Random, data: bytes) -> bytes:
    """`data` with bytes changed, cut out, doubled or put in, some of them whole fields."""
    pieces = [
        b"\x1a\x01i",
        b"\xf8\x07\x05",
        b"\x3a\x02ab",
        NAME,
        b"\x0a\x01b",
        b"\x12\x011",
        b"\x12\x00",
        b"\x08\x01",
        b"\x8a\x00\x01b",
        b"\x0a\x81\x00b",
    ]
    for _ in range(dice.randint(1, 3)):
        at, to = sorted((dice.randint(0, len(data)), dice.randint(0, len(data))))
        piece = dice.choice((dice.choice(pieces), dice.randbytes(dice.randint(1, 4)), data[at : at + 6]))
        where = dice.choice((at, 0, len(data), len(data)))
        data = dice.choice((data[:where] + piece + data[where:], data[:at] + data[min(to, at + 4) :]))
    return data


@in_both_luas
def test_what_passes_protobuf_reads_as_the_judged_model(lua: str) -> None:
    dice, judge, passed = random.Random(6), core(lua), 0
    for _ in range(8000):
        message = mutated(dice, request("a", dice.choice(("", "1"))))
        named = judge.ask("model_named", frame(message), INFER)
        if not isinstance(named, dict):
            continue
        if judge.ask("scan", INFER, named["name"], named["version"], [frame(message)]) is not None:
            continue
        try:
            read = Request.FromString(message)
        except DecodeError:
            continue  # refused by Triton, whatever it names
        passed += 1
        assert (read.model_name, read.model_version) == (named["name"], named["version"]), message
    assert passed > 150, "the mutations leave too little that is sound"


@in_both_luas
def test_the_answer_does_not_depend_on_how_the_body_is_cut(lua: str) -> None:
    dice, judge = random.Random(7), core(lua)
    for _ in range(300):
        body = frame(mutated(dice, request()))
        whole = judge.ask("scan", INFER, "a", "", [body], CLASSES)
        cuts = sorted(dice.randint(0, len(body)) for _ in range(dice.randint(1, 9)))
        chunks = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert judge.ask("scan", INFER, "a", "", chunks, CLASSES) == whole, (body, cuts)
