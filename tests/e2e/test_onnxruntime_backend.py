"""The ONNX Runtime backend inside a real server, over HTTP and gRPC."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.servers import Server

from .callers import JOINED, Caller, parameters, together
from .conftest import Files, StartServer
from .onnx_files import ONNX_FROM_TRITON, addition, constant, every_type, external, identity, model, node, plus, tensor

pytestmark = pytest.mark.e2e

ONE_INSTANCE = 'platform: "onnxruntime_onnx"\ninstance_group { kind: KIND_CPU count: 1 }\n'
TYPES = {name: name.lower() for name in ONNX_FROM_TRITON if name != "BF16"}
SCALAR = 'input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "y" data_type: TYPE_FP32 dims: 1 }\n'
EVERY_PARAMETER = {
    "intra_op_thread_count": "1",
    "inter_op_thread_count": "1",
    "execution_mode": "1",
    "enable_mem_arena": "true",
    "enable_mem_pattern": "0",
    "memory.enable_memory_arena_shrinkage": "cpu:0",
    "session.use_device_allocator_for_initializers": "1",
    "unknown_to_us": "ignored",
}


def lookup() -> onnx.ModelProto:
    """y = table[x], which fails for an x outside the table."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [4], [10, 11, 12, 13])
    return model(
        [node("Gather", ["table", "x"], ["y"])],
        [tensor("x", "INT64", ["n", 1])],
        [tensor("y", "FP32", ["n", 1])],
        [table],
    )


def with_default() -> onnx.ModelProto:
    """y = x + extra, where extra is 5 unless it is sent."""
    return model(
        [node("Add", ["x", "extra"], ["y"])],
        [tensor("x", "FP32", ["m"]), tensor("extra", "FP32", [1])],
        [tensor("y", "FP32", ["m"])],
        [constant("extra", 5)],
    )


MODELS: dict[str, Files] = {
    "types": {"1/model.onnx": every_type(TYPES), "config.pbtxt": ONE_INSTANCE},
    "no_config": {"1/model.onnx": identity()},
    "bf16": {"1/model.onnx": identity("BF16"), "config.pbtxt": ONE_INSTANCE + JOINED},
    "addition": {"1/model.onnx": addition(), "config.pbtxt": ONE_INSTANCE + JOINED},
    "fixed": {"1/model.onnx": addition([2, 3]), "config.pbtxt": ONE_INSTANCE},
    "vector": {"1/model.onnx": identity(dims=["n"]), "config.pbtxt": ONE_INSTANCE},
    "scalar": {"1/model.onnx": identity(dims=[]), "config.pbtxt": ONE_INSTANCE + SCALAR},
    "optional": {
        "1/model.onnx": with_default(),
        "config.pbtxt": ONE_INSTANCE
        + 'input { name: "x" data_type: TYPE_FP32 dims: -1 }'
        + 'input { name: "extra" data_type: TYPE_FP32 dims: 1 optional: true }'
        + 'output { name: "y" data_type: TYPE_FP32 dims: -1 }',
    },
    "versions": {
        "1/net.onnx": plus(1),
        "3/net.onnx": plus(3),
        "config.pbtxt": ONE_INSTANCE + 'version_policy { all {} } default_model_filename: "net.onnx"',
    },
    "folder": {
        **{f"1/model.onnx/{name}": content for name, content in external(7).items()},
        "config.pbtxt": ONE_INSTANCE,
    },
    "lookup": {"1/model.onnx": lookup(), "config.pbtxt": ONE_INSTANCE + JOINED},
    "text": {"1/model.onnx": identity("BYTES", ["n", 1]), "config.pbtxt": ONE_INSTANCE + JOINED},
    "finite": {
        "1/model.onnx": identity(),
        "config.pbtxt": ONE_INSTANCE + JOINED + parameters({"refuse_nonfinite": "true"}),
    },
    "tuned": {
        "1/model.onnx": plus(2),
        "config.pbtxt": 'backend: "onnxruntime" optimization { graph { level: -1 } }\n'
        "instance_group { kind: KIND_CPU count: 2 }\n" + parameters(EVERY_PARAMETER),
    },
}


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(MODELS, extra_arguments=["--backend-config=default-max-batch-size=6"])


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Caller]:
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        yield Caller(grpcclient, client)


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[Caller]:
    with httpclient.InferenceServerClient(server.http_url, concurrency=4) as client:
        yield Caller(httpclient, client)


@pytest.fixture(params=["http", "grpc"])
def caller(request: pytest.FixtureRequest) -> Caller:
    protocol_caller: Caller = request.getfixturevalue(request.param)
    return protocol_caller


def config_of(http: Caller, name: str) -> dict[str, Any]:
    config: dict[str, Any] = http.client.get_model_config(name)
    return config


def some(data_type: str) -> NDArray[Any]:
    if data_type == "BYTES":
        return np.array([["häus".encode(), b""]], dtype=object)
    dtypes = {"BOOL": bool, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
    return np.array([[1, 0]], dtype=dtypes.get(data_type, data_type.lower()))


def test_every_type_comes_back_as_it_was_sent(caller: Caller) -> None:
    sent = {f"in_{name}": (triton, some(triton)) for triton, name in TYPES.items()}
    answer = caller.infer("types", sent, [f"out_{name}" for name in TYPES.values()])
    assert {name: array.tolist() for name, array in answer.items()} == {
        f"out_{name}": some(triton).tolist() for triton, name in TYPES.items()
    }


def test_bfloat16_comes_back_as_it_was_sent_alone_and_batched(grpc: Caller) -> None:
    sent = [np.array([[place, 0.5]], dtype=ml_dtypes.bfloat16) for place in range(4)]
    answers = together(grpc, "bf16", [{"x": ("BF16", array)} for array in sent])
    assert [answer.as_numpy("y").tolist() for answer in answers] == [array.tolist() for array in sent]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_config", (6, True, [("x", "TYPE_FP32", ["2"])], [("y", "TYPE_FP32", ["2"])])),
        ("vector", (6, True, [("x", "TYPE_FP32", ["1"])], [("y", "TYPE_FP32", ["1"])])),
        (
            "fixed",
            (
                0,
                False,
                [("a", "TYPE_FP32", ["2", "3"]), ("b", "TYPE_FP32", ["2", "3"])],
                [("sum", "TYPE_FP32", ["2", "3"]), ("difference", "TYPE_FP32", ["2", "3"])],
            ),
        ),
        ("tuned", (6, True, [("x", "TYPE_FP32", ["2"])], [("y", "TYPE_FP32", ["2"])])),
    ],
)
def test_config_is_filled_in_from_the_file(http: Caller, name: str, expected: tuple[Any, ...]) -> None:
    config = config_of(http, name)
    tensors = [
        [(t["name"], t["data_type"], [str(dim) for dim in t["dims"]]) for t in config[side]]
        for side in ("input", "output")
    ]
    assert (config["max_batch_size"], "dynamic_batching" in config, *tensors) == expected


def test_models_with_one_dimension_or_none_are_served(caller: Caller) -> None:
    x = {"x": ("FP32", np.array([[3], [4]], np.float32))}
    assert caller.infer("vector", x, ["y"])["y"].tolist() == [[3], [4]]
    assert caller.infer("scalar", {"x": ("FP32", np.array([3], np.float32))}, ["y"])["y"].tolist() == [3]


def test_an_optional_input_may_be_left_out(caller: Caller) -> None:
    x = {"x": ("FP32", np.array([1, 2], np.float32))}
    extra = {"extra": ("FP32", np.array([100], np.float32))}
    answers = [caller.infer("optional", sent, ["y"])["y"].tolist() for sent in (x, x | extra)]
    assert answers == [[6, 7], [101, 102]]


@pytest.mark.parametrize(("name", "version", "added"), [("versions", "1", 1), ("versions", "", 3), ("folder", "", 7)])
def test_the_right_file_is_loaded(caller: Caller, name: str, version: str, added: float) -> None:
    x = {"x": ("FP32", np.zeros((1, 2), np.float32))}
    assert caller.infer(name, x, ["y"], version)["y"].tolist() == [[added, added]]


def test_a_model_with_every_parameter_and_two_instances_answers(caller: Caller) -> None:
    x = {"x": ("FP32", np.zeros((1, 2), np.float32))}
    assert caller.infer("tuned", x, ["y"])["y"].tolist() == [[2, 2]]


def test_only_requested_outputs_are_returned(http: Caller) -> None:
    one = ("FP32", np.ones((1, 3), np.float32))
    outputs = [httpclient.InferRequestedOutput("difference")]
    result = http.client.infer("addition", http.inputs({"a": one, "b": one}), outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["difference"]


def test_joined_requests_of_different_size_get_their_own_rows(grpc: Caller) -> None:
    sizes = [1, 2, 1]
    arrays = [np.full((size, 3), place, np.float32) for place, size in enumerate(sizes)]
    sent = [{"a": ("FP32", array), "b": ("FP32", np.ones_like(array))} for array in arrays]
    answers = together(grpc, "addition", sent)
    assert [answer.as_numpy("sum").tolist() for answer in answers] == [(array + 1).tolist() for array in arrays]


@pytest.mark.parametrize(
    ("name", "data_type", "good", "bad", "reason"),
    [
        ("lookup", "INT64", np.array([[1]]), np.array([[99]]), "out of data bounds"),
        (
            "finite",
            "FP32",
            np.zeros((1, 2), np.float32),
            np.array([[1, np.nan]], np.float32),
            "input 'x' holds NaN or infinity: send finite numbers only",
        ),
        (
            "text",
            "BYTES",
            np.array([[b"a"]], dtype=object),
            np.array([[b"\xff\xfe"]], dtype=object),
            "input 'x' is not UTF-8 (element 0, byte 0): encode text as UTF-8",
        ),
    ],
)
def test_one_bad_request_does_not_fail_those_joined_with_it(
    grpc: Caller, name: str, data_type: str, good: NDArray[Any], bad: NDArray[Any], reason: str
) -> None:
    answers = together(grpc, name, [{"x": (data_type, array)} for array in (good, bad, good, good)])
    failed = [isinstance(answer, InferenceServerException) for answer in answers]
    assert failed == [False, True, False, False]
    assert (answers[1].status(), reason in answers[1].message()) == ("StatusCode.INVALID_ARGUMENT", True)


FLOATS = ("FP32", np.ones((1, 2), np.float32))


@pytest.mark.parametrize(
    ("name", "sent", "reason"),
    [
        ("addition", {"a": FLOATS, "b": ("FP32", np.ones((1, 3), np.float32))}, "dimension 's' ('a' has 2, 'b' has 3)"),
        ("addition", {"a": FLOATS}, "missing required input"),
        ("finite", {"x": ("FP32", np.ones((9, 2), np.float32))}, "batch-size must be <= 8"),
        ("finite", {"x": ("FP64", np.ones((1, 2)))}, "data-type is 'FP64'"),
        ("finite", {"x": ("FP32", np.ones((1, 5), np.float32))}, "unexpected shape"),
        ("finite", {"wrong": FLOATS}, "wrong"),
        ("finite", {"x": ("FP32", np.array([[np.inf, 0]], np.float32))}, "NaN or infinity"),
        ("lookup", {"x": ("INT64", np.array([[99]]))}, "in a step Gather"),
    ],
)
def test_a_bad_request_is_answered_400_in_one_sentence(
    caller: Caller, name: str, sent: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        caller.infer(name, sent, [])
    message = caught.value.message()
    answer_facts = (
        caught.value.status(),
        reason in message,
        "Traceback" in message,
        "\n" in message.strip(),
        "/" in message,
    )
    assert answer_facts in [
        ("400", True, False, False, False),
        ("StatusCode.INVALID_ARGUMENT", True, False, False, False),
    ], message


def test_nan_passes_where_the_config_does_not_refuse_it(caller: Caller) -> None:
    nan = ("FP32", np.full((1, 2), np.nan, np.float32))
    assert np.isnan(caller.infer("addition", {"a": nan, "b": nan}, ["sum"])["sum"]).all()
