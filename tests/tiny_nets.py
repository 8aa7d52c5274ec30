"""Small networks with random weights, written as ONNX files for the tests of calibration and quantization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

WIDTH = 32


def write(
    file: Path,
    nodes: Sequence[NodeProto],
    weights: dict[str, NDArray[np.generic]],
    takes: tuple[str, int, list[int | str]],
    gives: tuple[str, list[int | str]],
) -> Path:
    for number, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type.lower()}_{number}"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*takes)],
        [helper.make_tensor_value_info(gives[0], TensorProto.FLOAT, gives[1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file


def residual_cnn(file: Path) -> Path:
    """uint8 [batch, 1, 8, 8] to [batch, 10]: three convolutions, one around a skip, batch normalisation, a Gemm."""
    random = np.random.default_rng(0)
    node = helper.make_node
    weights: dict[str, NDArray[np.generic]] = {
        "scale": np.float32(1 / 255),
        "stem.weight": _normal(random, 8, 1, 3, 3),
        "stem.bias": _normal(random, 8),
        "conv1.weight": _normal(random, 8, 8, 3, 3),
        "conv2.weight": _normal(random, 8, 8, 3, 3),
        "norm.weight": np.full(8, 1.5, np.float32),
        "norm.bias": _normal(random, 8),
        "norm.mean": _normal(random, 8),
        "norm.var": np.full(8, 2, np.float32),
        "head.weight": _normal(random, 10, 8),
        "head.bias": _normal(random, 10),
    }
    nodes = [
        node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        node("Mul", ["float", "scale"], ["scaled"]),
        node("Conv", ["scaled", "stem.weight", "stem.bias"], ["stem_out"], pads=[1, 1, 1, 1]),
        node("Relu", ["stem_out"], ["stem_relu"]),
        node("Conv", ["stem_relu", "conv1.weight"], ["conv1_out"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["conv1_out", "norm.weight", "norm.bias", "norm.mean", "norm.var"], ["norm_out"]),
        node("Relu", ["norm_out"], ["norm_relu"]),
        node("Conv", ["norm_relu", "conv2.weight"], ["conv2_out"], pads=[1, 1, 1, 1]),
        node("Add", ["conv2_out", "stem_relu"], ["sum"]),
        node("Relu", ["sum"], ["sum_relu"]),
        node("GlobalAveragePool", ["sum_relu"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "head.weight", "head.bias"], ["scores"], transB=1),
    ]
    return write(file, nodes, weights, ("pixels", TensorProto.UINT8, ["batch", 1, 8, 8]), ("scores", ["batch", 10]))


def transformer_block(file: Path) -> Path:
    """float [batch, length, WIDTH] to the same: two products around a Relu, a skip connection, LayerNormalization.

    Channel 3 of the normalised input is 200 times as large as the others: the outlier that spoils naive INT8.
    """
    random = np.random.default_rng(1)
    node = helper.make_node
    gain = np.ones(WIDTH, np.float32)
    gain[3] = 200
    up = _normal(random, WIDTH, 2 * WIDTH)
    up[3] *= 0.005
    weights: dict[str, NDArray[np.generic]] = {
        "before.weight": gain,
        "before.bias": np.zeros(WIDTH, np.float32),
        "up.weight": up,
        "up.bias": _normal(random, 2 * WIDTH),
        "down.weight": _normal(random, 2 * WIDTH, WIDTH),
        "down.bias": _normal(random, WIDTH),
        "after.weight": np.ones(WIDTH, np.float32),
        "after.bias": np.zeros(WIDTH, np.float32),
        "tame": (1 / gain).astype(np.float32),
    }
    nodes = [
        node("LayerNormalization", ["states", "before.weight", "before.bias"], ["normal"], axis=-1),
        node("MatMul", ["normal", "up.weight"], ["up_out"]),
        node("Add", ["up_out", "up.bias"], ["up_biased"]),
        node("Relu", ["up_biased"], ["up_relu"]),
        node("MatMul", ["up_relu", "down.weight"], ["down_out"]),
        node("Add", ["down_out", "down.bias"], ["down_biased"]),
        node("Mul", ["normal", "tame"], ["skip"]),
        node("Add", ["down_biased", "skip"], ["sum"]),
        node("LayerNormalization", ["sum", "after.weight", "after.bias"], ["out"], axis=-1),
    ]
    shape: list[int | str] = ["batch", "length", WIDTH]
    return write(file, nodes, weights, ("states", TensorProto.FLOAT, shape), ("out", shape))


def images(count: int, seed: int = 2, batch: int = 32) -> Iterator[dict[str, NDArray[np.uint8]]]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    for start in range(0, count, batch):
        yield {"pixels": pixels[start : start + batch]}


def states(count: int, seed: int = 3, batch: int = 32) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Batches whose length differs from one to the next."""
    random = np.random.default_rng(seed)
    for number, start in enumerate(range(0, count, batch)):
        yield {"states": _normal(random, min(batch, count - start), 4 + number, WIDTH) * 8}


def _normal(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Weights of a width that keeps values near 1 from layer to layer."""
    return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def write_scale(file: Path, factor: float) -> None:
    """y = factor * x, as a training run might leave it: with another factor it is another build."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
