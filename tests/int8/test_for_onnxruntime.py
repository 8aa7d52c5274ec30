"""The INT8 graph runs in INT8 where it should, answers like FP32, and is the same file every time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ai102.contract import Recipe
from ai102.errors import UserError
from ai102.int8.for_onnxruntime import int8_from_ranges
from ai102.int8.ranges import Ranges, find_ranges
from ai102.int8.score import cosine_stats
from ai102.int8.smooth import smooth
from ai102.weights.graph import clean_graph, weighted_layers
from ai102_runtime.engine.cpu import Cpu, this_cpu
from tests.tiny_nets import WIDTH, images, residual_cnn, states, transformer_block, write

Batches = Iterable[dict[str, Any]]


def ranges_of(file: Path, batches: Batches, **options: Any) -> Ranges:
    return find_ranges(file, batches, sample_count=160, set_sha256="0" * 64, **options)


def answers(model: Path | bytes, batches: Batches) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [session.run(None, batch)[0] for batch in batches]
    return np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows])


def operators_as_run(file: Path) -> Counter[str]:
    optimized = file.with_suffix(".optimized.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(optimized).graph.node)


def test_every_convolution_and_what_follows_it_runs_in_int8(cnn: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    graph = int8_from_ranges(cnn, ranges_of(cnn, images(160)), Recipe(), out, cpu="x86-vnni")
    assert (graph.int8_layers, graph.float_layers) == (("stem", "conv1", "conv2", "head"), ())
    run = operators_as_run(out)
    assert (run["QLinearConv"], run["QLinearAdd"], run["QGemm"]) == (3, 1, 1)
    assert not run.keys() & {"Conv", "FusedConv", "NhwcFusedConv", "Relu", "Add", "Gemm", "BatchNormalization"}
    reference, candidate = answers(cnn, images(50, seed=9)), answers(out, images(50, seed=9, batch=7))
    assert cosine_stats(reference, candidate)[1] > 0.995


def test_a_convolution_that_float_operators_read_runs_in_int8_too(tmp_path: Path) -> None:
    node = helper.make_node
    random = np.random.default_rng(0)
    weights = {f"{name}.weight": random.standard_normal((4, 4, 1, 1)).astype(np.float32) for name in "ab"}
    nodes = [
        node("Conv", ["x", "a.weight"], ["a"]),
        node("Sigmoid", ["a"], ["gate"]),
        node("Mul", ["a", "gate"], ["swish"]),
        node("Conv", ["swish", "b.weight"], ["y"]),
    ]
    shape: list[int | str] = ["batch", 4, 3, 3]
    file = write(tmp_path / "net.onnx", nodes, dict(weights), ("x", TensorProto.FLOAT, shape), ("y", shape))
    batch = {"x": random.standard_normal((160, 4, 3, 3)).astype(np.float32)}
    int8_from_ranges(file, ranges_of(file, [batch]), Recipe(), tmp_path / "int8.onnx", cpu="x86-vnni")
    assert operators_as_run(tmp_path / "int8.onnx")["QLinearConv"] == 2


def test_smoothing_saves_what_an_outlier_channel_spoils(block: Path, tmp_path: Path) -> None:
    ranges, out = ranges_of(block, states(160)), tmp_path / "int8.onnx"
    reference = answers(block, states(60, seed=9))
    means = []
    for smoothing in (None, 0.8):
        int8_from_ranges(block, ranges, Recipe(smoothing=smoothing), out, cpu="x86-vnni")
        means.append(cosine_stats(reference, answers(out, states(60, seed=9)))[0])
    assert means[0] < 0.98
    assert means[1] > 0.999


@pytest.mark.parametrize("smoothing", [None, 0.8])
def test_products_of_a_transformer_run_in_int8_and_the_rest_in_float(
    block: Path, tmp_path: Path, smoothing: float | None
) -> None:
    out = tmp_path / "int8.onnx"
    int8_from_ranges(block, ranges_of(block, states(160)), Recipe(smoothing=smoothing), out, cpu="x86-vnni")
    run = operators_as_run(out)
    assert (run["MatMulIntegerToFloat"], run["MatMul"]) == (2, 0)
    # The skip connection reads the exact value, and LayerNormalization keeps its fast kernel.
    assert (run["DequantizeLinear"], run["SkipLayerNormalization"], run["LayerNormalization"]) == (0, 0, 2)
    weights = {t.name: t.data_type for t in onnx.load(out).graph.initializer if len(t.dims) == 2}
    assert set(weights.values()) == {TensorProto.INT8}


@pytest.mark.parametrize("net", [residual_cnn, transformer_block])
def test_smoothing_does_not_change_what_a_network_computes(net: Callable[[Path], Path], tmp_path: Path) -> None:
    file = net(tmp_path / "net.onnx")
    batches = images if net is residual_cnn else states
    model = clean_graph(file)
    layers = [layer for layer in weighted_layers(model) if layer.has_channels_last]
    smoothed, ranges = smooth(model, layers, ranges_of(file, batches(160)).channels, 0.7)
    onnx.checker.check_model(smoothed)
    assert sorted(ranges) == sorted(f"{layer.activation}_smoothed" for layer in layers)
    np.testing.assert_allclose(
        answers(smoothed.SerializeToString(), batches(40)), answers(file, batches(40)), atol=2e-5
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_channel_that_is_silent_or_unread_does_not_blow_up(block: Path, alpha: float) -> None:
    model = clean_graph(block)
    layer = weighted_layers(model)[0]
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == layer.weight)
    unread = numpy_helper.to_array(weight).copy()
    unread[1] = 0
    weight.CopyFrom(numpy_helper.from_array(unread, layer.weight))
    channels = ranges_of(block, states(160)).channels[layer.activation]
    silent = channels.model_copy(update={"lows": (0.0, *channels.lows[1:]), "highs": (0.0, *channels.highs[1:])})
    smoothed, _ = smooth(model, [layer], {layer.activation: silent}, alpha)
    factors = next(numpy_helper.to_array(t) for t in smoothed.graph.initializer if t.name == "normal_smoothing")
    assert factors.shape == (WIDTH,)
    assert np.isfinite(factors).all()
    assert factors.max() / factors.min() <= 1000.1


def test_layers_named_in_keep_float_stay_float(block: Path, cnn: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    graph = int8_from_ranges(block, ranges_of(block, states(160)), Recipe(keep_float=("d*",)), out)
    assert (graph.int8_layers, graph.float_layers) == (("up",), ("down",))
    assert operators_as_run(out)["MatMul"] == 1
    graph = int8_from_ranges(cnn, ranges_of(cnn, images(160)), Recipe(keep_float=("stem", "conv[2-9]")), out)
    assert (graph.int8_layers, graph.float_layers) == (("conv1", "head"), ("stem", "conv2"))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(keep_float=("up", "encoder.*")), r'no layer fits "encoder\.\*"; the layers are up, down'),
        (Recipe(keep_float=("*",)), "no layer left to run in INT8"),
        (Recipe(method="entropy"), "measured by minmax, the recipe says entropy; run `ai102 calibrate`"),
        (Recipe(method="percentile", percentile=99.9), "measured by minmax, the recipe says percentile 99.9"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_and_nothing_written(
    block: Path, tmp_path: Path, recipe: Recipe, message: str
) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        int8_from_ranges(block, ranges_of(block, states(160)), recipe, tmp_path / "int8.onnx")
    assert "\n" not in str(refusal.value)
    assert [file.name for file in tmp_path.iterdir()] == ["block.onnx"]


def test_ranges_of_another_network_are_refused(block: Path, cnn: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ranges belong to an ONNX file"):
        int8_from_ranges(cnn, ranges_of(block, states(160)), Recipe(), tmp_path / "int8.onnx")


@pytest.mark.parametrize(
    ("cpu", "activation", "largest_weight"),
    [("x86-vnni", TensorProto.UINT8, 127), ("x86", TensorProto.UINT8, 64), ("arm", TensorProto.INT8, 127)],
)
def test_types_and_range_of_weights_follow_the_cpu(
    block: Path, tmp_path: Path, cpu: Cpu, activation: int, largest_weight: int
) -> None:
    out = tmp_path / "int8.onnx"
    int8_from_ranges(block, ranges_of(block, states(160)), Recipe(smoothing=0.8), out, cpu=cpu)
    model = onnx.load(out)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    zero_points = {tensors[n.input[2]].data_type for n in model.graph.node if n.op_type == "QuantizeLinear"}
    weights = [
        numpy_helper.to_array(t) for t in tensors.values() if t.data_type == TensorProto.INT8 and len(t.dims) == 2
    ]
    assert zero_points == {activation}
    assert max(int(np.abs(weight.astype(np.int32)).max()) for weight in weights) in (largest_weight, largest_weight - 1)
    assert cosine_stats(answers(block, states(60)), answers(out, states(60)))[0] > 0.998


def test_this_cpu_is_one_of_those_known() -> None:
    assert this_cpu() in ("x86-vnni", "x86", "arm")


def test_the_same_inputs_give_the_same_bytes(cnn: Path, block: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from ai102.int8.ranges import Ranges
from ai102.int8.for_onnxruntime import int8_from_ranges
from ai102.contract import Recipe
for start in range(1, len(sys.argv), 3):
    net, ranges, out = map(Path, sys.argv[start : start + 3])
    int8_from_ranges(net, Ranges.load(ranges, net), Recipe(smoothing=0.8), out)
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
