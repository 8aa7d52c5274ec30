"""Calls as both protocols spell them, and answers read back; no network."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as pb

from ai102.client.calls import (
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
from ai102.client.errors import (
    BadAnswerError,
    BadRequestError,
    BusyError,
    DeadlineError,
    ForbiddenError,
    InferenceError,
    ModelNotFoundError,
    RateLimitedError,
    RefusedError,
    ServerFailedError,
    TooLargeError,
    UnauthenticatedError,
    WrongProtocolError,
    error_from_answer,
)
from ai102.client.grpc.messages import grpc_answer, grpc_request
from ai102.client.http.messages import JSON_SIZE, http_answer, http_request
from ai102.client.inference import checked_headers, headers_with, load_of
from ai102.client.tensors import raw_from_array

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
X = raw_from_array("x", np.array([[1, 2]], np.int8))
S = raw_from_array("s", np.array([[b"ab"]], dtype=object))
URL = "http://a:1"
CALLS: list[Call] = [
    Infer("mood", (X,), headers=HEADERS),
    Describe("mood", HEADERS),
    Config("mood", HEADERS),
    Version(HEADERS),
    Index(HEADERS),
    Load("mood", HEADERS),
    Statistics("mood", HEADERS),
    Statistics("", HEADERS),
    Register("r", "/r", 64, HEADERS),
    Unregister("r", HEADERS),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: type(call).__name__)
def test_every_call_over_http_carries_the_callers_headers(call: Call) -> None:
    assert http_request(call).headers.items() >= HEADERS.items()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: type(call).__name__)
def test_every_call_has_a_method_of_tritons_grpc_service(call: Call) -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    request = grpc_request(call)
    assert service.methods_by_name[request.method].input_type.full_name == request.message.DESCRIPTOR.full_name


def test_an_inference_over_http_is_json_then_bytes() -> None:
    call = Infer("a/b", (X, S), ("y",), "3", "id-7", HEADERS, {"priority": 2}, {"s": Region("r", 64, 6)})
    request = http_request(call)
    head, *parts = request.parts
    assert request.path == "/v2/models/a%2Fb/versions/3/infer"
    assert (int(request.headers[JSON_SIZE]), [bytes(part) for part in parts]) == (len(head), [b"\x01\x02"])
    assert json.loads(head) == {
        "id": "id-7",
        "inputs": [
            {"name": "x", "datatype": "INT8", "shape": [1, 2], "parameters": {"binary_data_size": 2}},
            {
                "name": "s",
                "datatype": "BYTES",
                "shape": [1, 1],
                "parameters": {
                    "shared_memory_region": "r",
                    "shared_memory_offset": 64,
                    "shared_memory_byte_size": 6,
                },
            },
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        "parameters": {"priority": 2},
    }


def test_an_inference_over_grpc_says_the_same() -> None:
    parameters = {"priority": 2, "share": 0.5, "is_late": True, "who": "me"}
    call = Infer("mood", (X, S), ("y",), "3", "id-7", HEADERS, parameters, {"s": Region("r", 64, 6)})
    message = grpc_request(call).message
    assert (message.model_name, message.model_version, message.id) == ("mood", "3", "id-7")
    assert {key: value.WhichOneof("parameter_choice") for key, value in message.parameters.items()} == {
        "priority": "int64_param",
        "share": "double_param",
        "is_late": "bool_param",
        "who": "string_param",
    }
    assert list(message.raw_input_contents) == [b"\x01\x02"]
    assert message.inputs[1].parameters["shared_memory_region"].string_param == "r"
    assert [output.name for output in message.outputs] == ["y"]


def http_infer_body(outputs: list[dict[str, Any]], tail: bytes) -> tuple[dict[str, str], bytes]:
    head = json.dumps({"model_name": "mood", "model_version": "1", "id": "7", "outputs": outputs}).encode()
    return {JSON_SIZE: str(len(head))}, head + tail


def test_an_answer_over_http_is_read_tensor_by_tensor() -> None:
    outputs = [
        {"name": "y", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}},
        {"name": "z", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 1}},
    ]
    answer = http_answer(CALLS[0], URL, 200, *http_infer_body(outputs, b"\x01\x02\x03"))
    assert (answer.model, answer.version, answer.request_id) == ("mood", "1", "7")
    assert {name: bytes(raw.data) for name, raw in answer.tensors.items()} == {"y": b"\x01\x02", "z": b"\x03"}


def test_an_answer_over_grpc_is_read_tensor_by_tensor() -> None:
    message = pb.ModelInferResponse(model_name="mood", model_version="1", id="7")
    message.outputs.add(name="s", datatype="INT8", shape=[4]).parameters["shared_memory_region"].string_param = "r"
    message.outputs.add(name="y", datatype="INT8", shape=[2])
    message.raw_output_contents.append(b"\x01\x02")
    answer = grpc_answer(CALLS[0], message)
    assert (answer.model, answer.version, answer.request_id) == ("mood", "1", "7")
    assert {name: bytes(raw.data) for name, raw in answer.tensors.items()} == {"s": b"", "y": b"\x01\x02"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b"{}", b'{"outputs": 1}', b'{"model_name": "m", "outputs": [{}]}']
)
def test_what_is_not_tritons_json_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswerError, match="mood: the server's answer is not Triton's"):
        http_answer(CALLS[0], URL, 200, {}, body)


def test_descriptions_index_and_statistics_are_alike_over_both() -> None:
    config = {"max_batch_size": 4, "input": [{"name": "x"}], "output": [{"name": "y"}]}
    row = {"name": "mood", "version": "1", "state": "READY"}
    counts = [{"name": "mood", "version": "1", "inference_count": 3}]
    index = pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**row)])
    described = pb.ModelConfigResponse()
    described.config.max_batch_size = 4
    described.config.input.add(name="x")
    described.config.output.add(name="y")
    counted = pb.ModelStatisticsResponse(model_stats=[pb.ModelStatistics(**counts[0])])
    for call, body, message, wanted in (
        (Describe("mood"), config, described, Description(4, ("x",), ("y",))),
        (Index(), [row], index, [ModelState("mood", "1", "READY", "")]),
        (Statistics("mood"), {"model_stats": counts}, counted, counts),
    ):
        assert http_answer(call, URL, 200, {}, json.dumps(body).encode()) == wanted
        assert grpc_answer(call, message) == wanted


@pytest.mark.parametrize(
    ("status", "sentence", "kind"),
    [
        ("400", "unexpected shape", BadRequestError),
        ("INVALID_ARGUMENT", "unexpected shape", BadRequestError),
        ("400", "Request for unknown model: 'mood' is not found", ModelNotFoundError),
        ("UNAVAILABLE", "Request for unknown model: 'mood' is not found", ModelNotFoundError),
        ("503", "Exceeds maximum queue size", BusyError),
        ("UNAVAILABLE", "Exceeds maximum queue size", BusyError),
        ("403", "This API is restricted, expecting header 'key'", ForbiddenError),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'triton-grpc-protocol-key'", RefusedError),
        ("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled", RefusedError),
        ("500", "the model failed", ServerFailedError),
        ("INTERNAL", "the model failed", ServerFailedError),
        ("UNIMPLEMENTED", "ModelInfer RPC doesn't support models with decoupled transaction policy", BadRequestError),
        ("418", "a teapot", InferenceError),
        ("401", "A valid token is needed.", UnauthenticatedError),
        ("UNAUTHENTICATED", "A valid token is needed.", UnauthenticatedError),
        ("403", "This is not allowed.", ForbiddenError),
        ("PERMISSION_DENIED", "This is not allowed.", ForbiddenError),
        ("413", "The request is larger than allowed.", TooLargeError),
        ("RESOURCE_EXHAUSTED", "The request is larger than allowed.", TooLargeError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", TooLargeError),
        ("429", "Too many requests; try again later.", RateLimitedError),
        ("RESOURCE_EXHAUSTED", "Too many requests; try again later.", RateLimitedError),
        ("RESOURCE_EXHAUSTED", "the queue is full", BusyError),
        ("504", "The upstream said nothing.", DeadlineError),
        # Sentences of models, with the words of others in them.
        ("400", "age -3 is not allowed", BadRequestError),
        ("INVALID_ARGUMENT", "age -3 is not allowed", BadRequestError),
        ("400", "word 'x' is not found in the vocabulary", BadRequestError),
        ("INVALID_ARGUMENT", "word 'x' is not found in the vocabulary", BadRequestError),
        ("500", "unknown model of car", ServerFailedError),
        ("UNAVAILABLE", "this line is restricted to adults", BusyError),
        ("RESOURCE_EXHAUSTED", "the batch is too large for now", BusyError),
        ("INTERNAL", "camera shared memory: frame should be at least 3 bytes", ServerFailedError),
    ],
)
def test_each_status_has_its_error(status: str, sentence: str, kind: type[InferenceError]) -> None:
    err = error_from_answer(status, sentence, "mood")
    assert (type(err), err.status, err.model) == (kind, status, "mood")
    assert "mood" in str(err)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b"<html>nginx</html>", WrongProtocolError, "no Triton"),
        (405, b'{"error":"Method Not Allowed"}', WrongProtocolError, "8002 is for metrics"),
        (501, b"<html>", WrongProtocolError, "no Triton"),
        (301, b"", WrongProtocolError, "no Triton"),
        (502, b"<html>bad gateway</html>", ServerFailedError, "bad gateway"),
        (400, b'{"error":"unexpected shape"}', BadRequestError, "unexpected shape"),
        (401, b"", RefusedError, "no reason given"),
    ],
)
def test_what_another_server_says_is_not_taken_for_tritons_word(
    status: int, body: bytes, kind: type[InferenceError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        http_answer(CALLS[0], URL, status, {}, body)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [("3", 3.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_when_to_come_back_is_read_from_the_header(told: str, wanted: float | None) -> None:
    with pytest.raises(RateLimitedError) as caught:
        http_answer(CALLS[0], URL, 429, {"Retry-After": told}, b'{"error":"Too many requests; try again later."}')
    assert caught.value.retry_after_s == wanted
    assert str(caught.value).endswith("try again later" if wanted is None else f"try again in {wanted:g} s")


@pytest.mark.parametrize(
    ("protocol", "headers", "words"),
    [
        ("http", {"Authorization": "a", "authorization": "b"}, "one is there twice"),
        ("http", {"x y": "a"}, "is no header"),
        ("http", {"x": "a\nb"}, "is no header"),
        ("http", {"Host": "a"}, "client's own"),
        ("grpc", {"x!y": "a"}, "does not go over gRPC"),
        ("grpc", {"grpc-timeout": "1S"}, "does not go over gRPC"),
    ],
)
def test_what_is_no_header_is_refused_and_its_value_not_shown(
    protocol: str, headers: dict[str, str], words: str
) -> None:
    with pytest.raises(BadRequestError, match=words) as caught:
        checked_headers(headers, protocol)
    assert not any(repr(value) in str(caught.value) for value in headers.values())


def test_a_header_of_a_call_takes_the_place_of_the_clients_in_capitals_or_not() -> None:
    ours = {"Authorization": "old", "x-team": "search"}
    headers = headers_with(ours, {"authorization": "new"}, "", "http")
    assert headers == {"x-team": "search", "authorization": "new"}


CONFIG = model_config_pb2.ModelConfig(name="mood", max_batch_size=4)
FILES = {"1/model.py": b"\x00code"}


def test_a_load_carries_its_config_and_files_over_both() -> None:
    call = load_of("mood", CONFIG, FILES)
    (body,) = http_request(call).parts
    parameters = json.loads(body)["parameters"]
    assert json.loads(parameters["config"]) == {"name": "mood", "max_batch_size": 4}
    assert base64.b64decode(parameters["file:1/model.py"]) == FILES["1/model.py"]
    message = grpc_request(call).message
    assert message.parameters["config"].string_param == parameters["config"]
    assert message.parameters["file:1/model.py"].bytes_param == FILES["1/model.py"]


def test_a_load_without_a_config_has_no_body() -> None:
    assert http_request(load_of("mood", None, None)).parts == ()


def test_a_mapping_is_a_config_too() -> None:
    assert json.loads(load_of("mood", {"max_batch_size": 4}, None).config) == {"max_batch_size": 4}


def test_files_without_a_config_are_refused() -> None:
    with pytest.raises(BadRequestError, match="files are given without a config"):
        load_of("mood", None, FILES)


def test_a_config_is_alike_over_both_and_may_have_fields_of_a_newer_server() -> None:
    body = json.dumps({"name": "mood", "max_batch_size": 4, "not_yet_known": {"a": 1}}).encode()
    assert http_answer(Config("mood"), URL, 200, {}, body) == CONFIG
    assert grpc_answer(Config("mood"), pb.ModelConfigResponse(config=CONFIG)) == CONFIG


def test_a_config_that_is_none_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswerError, match="mood: the server's answer is not Triton's"):
        http_answer(Config("mood"), URL, 200, {}, b"<html>")
