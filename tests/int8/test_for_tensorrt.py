"""The graph for TensorRT has its Q/DQ pairs where NVIDIA's placement rules want them, and answers like FP32."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ai102.contract import Recipe
from ai102.errors import UserError
from ai102.int8.for_tensorrt import FloatPrecision, qdq_from_ranges
from ai102.int8.ranges import Ranges, find_ranges
from ai102.int8.score import cosine_stats
from tests.tiny_nets import images, residual_cnn, states, transformer_block, write

Batches = Iterable[dict[str, Any]]
PRECISIONS: list[FloatPrecision] = ["fp32", "fp16"]


def ranges_of(file: Path, batches: Batches) -> Ranges:
    return find_ranges(file, batches, sample_count=160, set_sha256="0" * 64)


def emitted(file: Path, batches: Batches, recipe: Recipe, precision: FloatPrecision) -> ModelProto:
    out = file.with_name(f"{file.stem}.{precision}.qdq.onnx")
    qdq_from_ranges(file, ranges_of(file, batches), recipe, out, float_precision=precision)
    return onnx.load(out)


def answers(model: Path | ModelProto, batches: Batches) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = model if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    rows = [session.run(None, batch)[0] for batch in batches]
    return np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows])


def constants(model: ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def nodes(model: ModelProto, *operators: str) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type in operators]


def dequantized(model: ModelProto) -> set[str]:
    return {node.output[0] for node in nodes(model, "DequantizeLinear")}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_inputs_of_every_weighted_layer_are_quantized_and_its_bias_and_output_are_not(
    cnn: Path, precision: FloatPrecision
) -> None:
    model = emitted(cnn, images(160), Recipe(), precision)
    weighted = nodes(model, "Conv", "Gemm")
    assert len(weighted) == 4
    for node in weighted:
        assert set(node.input[:2]) <= dequantized(model)
        assert set(node.input[2:]) <= constants(model).keys()
    rounded = {node.input[0] for node in nodes(model, "QuantizeLinear")}
    assert rounded & {node.output[0] for node in weighted} == set()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_of_a_skip_addition_the_skip_alone_is_quantized(cnn: Path, precision: FloatPrecision) -> None:
    model = emitted(cnn, images(160), Recipe(), precision)
    (addition,) = nodes(model, "Add")
    convolved = {node.output[0] for node in nodes(model, "Conv")}
    assert [name in dequantized(model) for name in addition.input].count(True) == 1
    assert next(name for name in addition.input if name not in dequantized(model)) in convolved


def test_a_skip_that_meets_a_float_convolution_stays_float(cnn: Path) -> None:
    model = emitted(cnn, images(160), Recipe(keep_float=("conv2",)), "fp32")
    (addition,) = nodes(model, "Add")
    assert set(addition.input) & dequantized(model) == set()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("net", "batches"), [(residual_cnn, images), (transformer_block, states)])
def test_scales_are_positive_and_zero_points_are_int8_zeros(
    net: Callable[[Path], Path], batches: Callable[[int], Batches], precision: FloatPrecision, tmp_path: Path
) -> None:
    model = emitted(net(tmp_path / "net.onnx"), batches(160), Recipe(smoothing=0.8), precision)
    values = constants(model)
    for node in nodes(model, "QuantizeLinear", "DequantizeLinear"):
        scale, zero_point = values[node.input[1]], values[node.input[2]]
        assert scale.dtype == (np.float16 if precision == "fp16" else np.float32)
        assert (scale > 0).all()
        assert (zero_point.dtype, zero_point.shape) == (np.int8, scale.shape)
        assert not zero_point.any()
        assert (scale.ndim == 0) == (node.op_type == "QuantizeLinear" or node.input[0] not in values)


def test_each_output_channel_of_a_weight_has_a_scale_of_its_own(cnn: Path, block: Path) -> None:
    for model, expected in (
        (emitted(cnn, images(160), Recipe(), "fp32"), {"Conv": 0, "Gemm": 0}),
        (emitted(block, states(160), Recipe(), "fp32"), {"MatMul": 1}),
    ):
        values, weights = constants(model), {node.output[0]: node for node in nodes(model, "DequantizeLinear")}
        for node in nodes(model, *expected):
            weight = weights[node.input[1]]
            int8, scale = values[weight.input[0]], values[weight.input[1]]
            axis = next(attribute.i for attribute in weight.attribute if attribute.name == "axis")
            assert (axis, int8.dtype) == (expected[node.op_type], np.int8)
            assert scale.shape == (int8.shape[axis],)
            largest = np.abs(int8.astype(int)).max(axis=tuple(i for i in range(int8.ndim) if i != axis))
            assert set(largest) == {127}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_transformer_keeps_all_but_its_products_in_float(block: Path, precision: FloatPrecision) -> None:
    model = emitted(block, states(160), Recipe(smoothing=0.8), precision)
    assert len(nodes(model, "QuantizeLinear")) == 2
    readers = {node.op_type for node in model.graph.node if set(node.input) & dequantized(model)}
    assert readers == {"MatMul"}


def test_fp16_keeps_the_types_of_the_contract_and_computes_norms_in_fp32(block: Path) -> None:
    model = emitted(block, states(160), Recipe(smoothing=0.8), "fp16")
    ends = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert ends == [TensorProto.FLOAT, TensorProto.FLOAT]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    assert {types[node.output[0]] for node in nodes(model, "MatMul")} == {TensorProto.FLOAT16}
    assert {types[node.output[0]] for node in nodes(model, "LayerNormalization")} == {TensorProto.FLOAT}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("net", "batches", "recipe", "least"),
    [(residual_cnn, images, Recipe(), 0.995), (transformer_block, states, Recipe(smoothing=0.8), 0.998)],
)
def test_the_graph_answers_like_fp32(
    net: Callable[[Path], Path],
    batches: Callable[..., Batches],
    recipe: Recipe,
    least: float,
    precision: FloatPrecision,
    tmp_path: Path,
) -> None:
    file = net(tmp_path / "net.onnx")
    model = emitted(file, batches(160), recipe, precision)
    assert cosine_stats(answers(file, batches(50, seed=9)), answers(model, batches(50, seed=9)))[1] > least


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_channel_of_zeros_and_one_of_tiny_weights_do_no_harm(tmp_path: Path, precision: FloatPrecision) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32)
    weight[1], weight[2] = 0, weight[2] * 1e-3
    file = write(
        tmp_path / "net.onnx",
        [helper.make_node("Conv", ["x", "a.weight"], ["y"])],
        {"a.weight": weight},
        ("x", TensorProto.FLOAT, ["batch", 3, 2, 2]),
        ("y", ["batch", 4, 2, 2]),
    )
    batch = {"x": np.random.default_rng(1).standard_normal((160, 3, 2, 2)).astype(np.float32)}
    model = emitted(file, [batch], Recipe(), precision)
    reference, candidate = (answers(net, [batch]).reshape(160, 4, 4) for net in (file, model))
    assert not candidate[:, 1].any()
    assert cosine_stats(reference[:, 2], candidate[:, 2])[0] > 0.999


def test_layers_named_in_keep_float_stay_float(block: Path, tmp_path: Path) -> None:
    ranges, out = ranges_of(block, states(160)), tmp_path / "qdq.onnx"
    graph = qdq_from_ranges(block, ranges, Recipe(keep_float=("d*",)), out, float_precision="fp32")
    assert (graph.int8_layers, graph.float_layers) == (("up",), ("down",))
    model = onnx.load(out)
    assert [set(node.input) <= dequantized(model) for node in nodes(model, "MatMul")] == [True, False]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(keep_float=("encoder.*",)), r'no layer fits "encoder\.\*"; the layers are up, down'),
        (Recipe(keep_float=("*",)), "no layer left to run in INT8"),
        (Recipe(method="entropy"), "measured by minmax, the recipe says entropy; run `ai102 calibrate`"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_and_nothing_written(
    block: Path, tmp_path: Path, recipe: Recipe, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        qdq_from_ranges(block, ranges_of(block, states(160)), recipe, tmp_path / "qdq.onnx", float_precision="fp16")
    assert [file.name for file in tmp_path.iterdir()] == ["block.onnx"]


def test_values_that_do_not_fit_fp16_are_refused_with_what_to_write(block: Path, tmp_path: Path) -> None:
    ranges = ranges_of(block, states(160))
    loud = ranges.model_copy(update={"tensors": ranges.tensors | {"up_relu": (0.0, 70000.0)}})
    with pytest.raises(UserError, match=r'up_relu reaches 7e\+04 .*; write tensorrt = { float_precision = "fp32" }'):
        qdq_from_ranges(block, loud, Recipe(), tmp_path / "qdq.onnx", float_precision="fp16")


def test_the_same_inputs_give_the_same_bytes(cnn: Path, block: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from ai102.int8.ranges import Ranges
from ai102.int8.for_tensorrt import qdq_from_ranges
from ai102.contract import Recipe
for start in range(1, len(sys.argv), 3):
    net, ranges, out = map(Path, sys.argv[start : start + 3])
    qdq_from_ranges(net, Ranges.load(ranges, net), Recipe(smoothing=0.8), out, float_precision="fp16")
"""
    ranges_of(cnn, images(160)).save(tmp_path / "cnn.json")
    ranges_of(block, states(160)).save(tmp_path / "block.json")
    written = []
    for seed in ("1", "2"):
        outs = [tmp_path / f"{name}_{seed}.onnx" for name in ("cnn", "block")]
        arguments = [cnn, tmp_path / "cnn.json", outs[0], block, tmp_path / "block.json", outs[1]]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, *map(str, arguments)], env=environment, check=True)
        written.append([out.read_bytes() for out in outs])
    assert written[0] == written[1]
