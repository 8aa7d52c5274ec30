"""A model that takes about a millisecond on one core, so that a server's overhead is visible."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ai102 import artifact

ONE_MS = (8, 16, 16)
CHANNELS = 48
GOAL_MS = 1.0
CONFIG = """\
name: "one_ms"
platform: "onnxruntime_onnx"
max_batch_size: 32
input { name: "x" data_type: TYPE_FP32 dims: [ 8, 16, 16 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 8 ] }
instance_group { count: 1 kind: KIND_CPU }
dynamic_batching { }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""


def write_one_ms(repository: Path) -> None:
    """Write `repository`/one_ms with the number of layers that takes a millisecond here; an existing one stays."""
    folder = repository / "one_ms"
    artifact.make(folder / "1" / "model.onnx", {"goal_ms": str(GOAL_MS), "channels": str(CHANNELS)}, _write_fitted)
    artifact.write_text(folder / "config.pbtxt", CONFIG)


def _write_fitted(file: Path) -> Mapping[str, object]:
    # The times of two depths give the time of a layer. Convolutions, since they gain nothing from batching.
    few, many = _milliseconds(4), _milliseconds(24)
    layers = max(1, round(4 + (GOAL_MS - few) / max((many - few) / 20, 1e-3)))
    onnx.save(_model(layers), file)
    return {"layers": layers, "milliseconds": round(_milliseconds(layers), 3)}


def _milliseconds(layers: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(layers).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"x": np.zeros((1, *ONE_MS), dtype=np.float32)}
    times = []
    for _ in range(100):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1000)


def _model(layers: int) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes, weights = [], []
    channels, name = ONE_MS[0], "x"
    for layer in range(layers):
        scale = (2 / (channels * 9)) ** 0.5
        weight = random.normal(scale=scale, size=(CHANNELS, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        channels, name = CHANNELS, f"r{layer}"
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    weights.append(numpy_helper.from_array(random.normal(size=(channels, 8)).astype(np.float32), "head"))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "one_ms",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *ONE_MS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
