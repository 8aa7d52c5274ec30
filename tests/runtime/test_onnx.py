"""The parts of the ONNX Runtime backend that need no Triton: completing and checking a config, joining requests."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from ai102.serve.installation import installed_tritonserver
from ai102_runtime.engine import batch
from ai102_runtime.engine.signature import ModelRefusedError, Signature, TensorSpec, check_agreement, completion
from ai102_runtime.onnx import session_setup


@pytest.fixture(scope="module")
def arrays() -> Iterator[ModuleType]:
    """The module that imports Triton's own, which Triton has on sys.path."""
    folder = str(installed_tritonserver().backends / "python")
    sys.path.insert(0, folder)
    yield import_module("ai102_runtime.engine.request_arrays")
    sys.path.remove(folder)


def signature(x: Sequence[int], y: Sequence[int], y_type: str = "TYPE_FP32") -> Signature:
    return Signature((TensorSpec("x", "TYPE_FP32", tuple(x)),), (TensorSpec("y", y_type, tuple(y)),))


def config(x: Sequence[int] = (3,), y: Sequence[int] = (-1,), max_batch_size: int = 8, **more: Any) -> dict[str, Any]:
    return {
        "max_batch_size": max_batch_size,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [str(dim) for dim in x]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [str(dim) for dim in y]}],
    } | more


def as_config(name: str, dims: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "data_type": "TYPE_FP32", "dims": dims} | more


SCALAR: dict[str, Any] = {"reshape": {"shape": []}}


@pytest.mark.parametrize(
    ("given", "x", "y", "completed"),
    [
        ({}, [-1, 3], [-1], (4, [as_config("x", [3])], [as_config("y", [1], **SCALAR)], True)),
        ({}, [2, 3], [-1], (0, [as_config("x", [2, 3])], [as_config("y", [-1])], False)),
        ({}, [], [], (0, [as_config("x", [1])], [as_config("y", [1])], False)),
        ({"max_batch_size": 1}, [-1, 3], [-1, 2], (1, [as_config("x", [3])], [as_config("y", [2])], False)),
        (
            {"max_batch_size": 9, "sequence_batching": {}, "input": [as_config("x", [3])]},
            [-1, 3],
            [-1, 2],
            (9, [], [as_config("y", [2])], False),
        ),
    ],
)
def test_a_config_is_completed_by_nvidias_rule(
    given: Mapping[str, Any], x: list[int], y: list[int], completed: tuple[Any, ...]
) -> None:
    result = completion(given, signature(x, y), default_max_batch_size=4)
    assert (
        result.max_batch_size,
        list(result.inputs),
        list(result.outputs),
        result.wants_dynamic_batching,
    ) == completed


@pytest.mark.parametrize(
    "given",
    [
        config(),
        config(input=[as_config("x", [1, 3], reshape={"shape": [3]})]),
        config(parameters={"unknown": {"string_value": "ignored"}}),
    ],
)
def test_a_config_that_agrees_is_taken(given: Mapping[str, Any]) -> None:
    check_agreement(given, signature([-1, 3], [-1, -1]))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (config(x=[4]), r"says \[-1, 4\] .* for input 'x', the file says \[-1, 3\]: write dims: \[3\]"),
        (config(x=[-1]), r"says \[-1, -1\] .* for input 'x', the file says \[-1, 3\]"),
        # Only inputs may be narrower than the file: an answer of another size would break its promise.
        (config(y=[5]), r"says \[-1, 5\] .* for output 'y', the file says \[-1, -1\]: write dims: \[-1\]"),
        (config(x=[-1, 3], max_batch_size=0), r"says \[-1\] for output 'y', the file says \[-1, -1\]"),
        (config(input=[]), r"says inputs none, the file says 'x': add 'x'"),
        (config(output=[as_config("z", [1])]), r"says output 'z', the file says 'y': use one of its names"),
        (config(batch_input=[{}]), r"says batch_input, which this backend cannot serve"),
        (config(sequence_batching={"state": [{}]}), r"says sequence_batching\.state, which this backend cannot serve"),
        (
            config(max_batch_size=0, input=[as_config("x", [-1, 3], optional=True)]),
            r"input 'x' is optional, the file has no default for it: leave out optional: true",
        ),
        (
            config(input=[as_config("x", [3], optional=True)]),
            r"input 'x' is optional and max_batch_size 8: Triton takes optional inputs only with max_batch_size: 0",
        ),
    ],
)
def test_a_config_that_disagrees_is_refused_naming_both(given: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ModelRefusedError, match=reason):
        check_agreement(given, signature([-1, 3], [-1, -1]))


def test_what_is_no_tensor_is_not_completed() -> None:
    with pytest.raises(ModelRefusedError, match=r"'y' is a seq.*Triton serves tensors only"):
        completion({}, signature([-1, 3], [-1], y_type="seq(map(int64,tensor(float)))"), 4)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (None, ort.GraphOptimizationLevel.ORT_ENABLE_ALL),
        (-1, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC),
        (1, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED),
        (2, ort.GraphOptimizationLevel.ORT_DISABLE_ALL),
    ],
)
def test_the_graph_level_means_what_it_means_to_nvidias_backend(
    level: int | None, expected: ort.GraphOptimizationLevel
) -> None:
    optimization = {} if level is None else {"graph": {"level": level}}
    assert session_setup.options_from_config({"optimization": optimization}).graph_optimization_level == expected


def test_parameters_reach_the_session() -> None:
    values = {"intra_op_thread_count": "3", "inter_op_thread_count": "2", "execution_mode": "1"}
    values |= {"enable_mem_arena": "0", "enable_mem_pattern": "False"}
    options = session_setup.options_from_config({"parameters": {k: {"string_value": v} for k, v in values.items()}})
    assert (
        options.intra_op_num_threads,
        options.inter_op_num_threads,
        options.execution_mode,
        options.enable_cpu_mem_arena,
        options.enable_mem_pattern,
    ) == (3, 2, ort.ExecutionMode.ORT_PARALLEL, False, False)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("execution_mode", "2", r"execution_mode is 2: write 0 \(sequential\) or 1 \(parallel\)"),
        ("inter_op_thread_count", "", "inter_op_thread_count is '': write a whole number"),
        ("enable_mem_arena", "maybe", "enable_mem_arena is 'maybe': write true or false"),
    ],
)
def test_a_malformed_parameter_is_refused(key: str, value: str, reason: str) -> None:
    with pytest.raises(session_setup.ModelRefusedError, match=reason):
        session_setup.options_from_config({"parameters": {key: {"string_value": value}}})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'' "
            "Status Message: /onnxruntime_src/onnxruntime/core/element_wise_ops.h:563 "
            "void onnxruntime::BroadcastIterator::Init(ptrdiff_t) "
            "axis == 1 || axis == largest was false. Attempting to broadcast an axis. 3 by 4\n",
            "Attempting to broadcast an axis. 3 by 4, in a step Add",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: a "
            "for the following indices\n index: 0 Got: 1 Expected: 2\n "
            "Please fix either the inputs/outputs or the model.",
            "Got invalid dimensions for input: a for the following indices index: 0 Got: 1 Expected: 2",
        ),
        ("[ONNXRuntimeError] : 1 : FAIL : Load model from /srv/models/m/1/model.onnx failed:No op Foo", "No op Foo"),
        ("cannot open /srv/secret/weights.bin here", "cannot open (path) here"),
    ],
)
def test_a_reason_has_no_place_in_it(message: str, reason: str) -> None:
    assert session_setup.plain_reason(RuntimeError(message)) == reason


def doubled(names: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
    """A model that doubles, and refuses numbers below zero."""
    if (inputs["x"] < 0).any():
        raise ValueError("below zero")
    return [inputs["x"] * 2 for _ in names]


def test_a_lone_request_is_not_copied() -> None:
    x = np.ones((1, 2))
    calls = [batch.Call(0, {"x": x}, ("y",))]
    (answer,) = batch.answers(calls, lambda _, inputs: [inputs["x"]], (), can_join=True)
    assert answer.outputs["y"] is x


def test_requests_of_one_layout_run_once_and_get_views_of_their_rows() -> None:
    arrays = [np.full((size, 2), size) for size in (1, 3)] + [np.ones((1, 5))]
    calls = [batch.Call(place, {"x": array}, ("y",)) for place, array in enumerate(arrays)]
    runs = []

    def run(names: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        runs.append(inputs["x"].shape)
        return doubled(names, inputs)

    answers = list(batch.answers(calls, run, (ValueError,), can_join=True))
    rows = [answer.outputs["y"] for answer in answers]
    assert (runs, [row.tolist() for row in rows], rows[0].base is rows[1].base) == (
        [(4, 2), (1, 5)],
        [(array * 2).tolist() for array in arrays],
        True,
    )


@pytest.mark.parametrize("can_join", [True, False])
def test_only_the_bad_request_gets_the_error(can_join: bool) -> None:
    calls = [batch.Call(place, {"x": np.array([[sign]])}, ("y",)) for place, sign in enumerate([1, -1, 3])]
    answers = batch.answers(calls, doubled, (ValueError,), can_join=can_join)
    assert {answer.call.position: str(answer.error) for answer in answers} == {0: "None", 1: "below zero", 2: "None"}


def test_a_model_that_mixes_its_rows_is_run_request_by_request() -> None:
    calls = [batch.Call(place, {"x": np.ones((2, 1))}, ("y",)) for place in range(2)]
    answers = batch.answers(calls, lambda _, inputs: [inputs["x"].sum(axis=0)], (ValueError,), can_join=True)
    assert [answer.outputs["y"].tolist() for answer in answers] == [[2], [2]]


def bfloat16(values: Sequence[float]) -> Any:
    """The bits of bfloat16, as the backend holds them."""
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("data_type", "make"),
    [
        ("TYPE_FP16", lambda values: np.array(values, np.float16)),
        ("TYPE_BF16", bfloat16),
        ("TYPE_FP32", lambda values: np.array(values, np.float32)),
        ("TYPE_FP64", lambda values: np.array(values, np.float64)),
    ],
)
def test_nan_and_infinity_are_found_and_the_largest_numbers_pass(
    arrays: ModuleType, data_type: str, make: Any, bad: float
) -> None:
    spec = TensorSpec("x", data_type, (-1,))
    arrays.check_finite(make([-65000.0, 0.0, 65000.0]), spec)
    arrays.check_finite(make([]), spec)
    with pytest.raises(arrays.BadRequestError, match="input 'x' holds NaN or infinity: send finite numbers only"):
        arrays.check_finite(make([0.0, bad, 1.0]), spec)


def test_dimensions_of_one_name_must_agree_between_inputs(arrays: ModuleType) -> None:
    specs = [TensorSpec(name, "TYPE_FP32", (-1, -1), ("batch", "length")) for name in ("a", "b")]
    shared = arrays.shared_symbols(specs, has_batch=True)
    arrays.check_symbols({"a": np.ones((1, 3)), "b": np.ones((2, 3))}, shared)
    with pytest.raises(arrays.BadRequestError, match=r"dimension 'length' \('a' has 3, 'b' has 4\)"):
        arrays.check_symbols({"a": np.ones((1, 3)), "b": np.ones((1, 4))}, shared)
