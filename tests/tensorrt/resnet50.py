"""ResNet-50's graph with random weights: for tests of compilers, never for accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ai102.artifact import sha256_of_file
from ai102.int8.ranges import Ranges
from ai102.weights.graph import clean_graph, following_nodes, weighted_layers

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width and blocks; 53 convolutions and a Gemm


def resnet50(file: Path) -> Path:
    """uint8 [batch, 3, 224, 224] to [batch, 1000]; batch normalisation is already fused."""
    random = np.random.default_rng(0)
    nodes: list[NodeProto] = []
    tensors: list[TensorProto] = [numpy_helper.from_array(np.float32(1 / 255), "scale")]

    def constant(name: str, *shape: int) -> str:
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
        tensors.append(numpy_helper.from_array(values, name))
        return name

    def convolution(name: str, source: str, size: tuple[int, int, int], stride: int = 1) -> str:
        inputs, outputs, kernel = size
        parts = [source, constant(f"{name}.weight", outputs, inputs, kernel, kernel), constant(f"{name}.bias", outputs)]
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", parts, [name], name, pads=pads, strides=[stride, stride]))
        return name

    def simple(operator: str, output: str, *inputs: str, **attributes: int | list[int]) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    x = simple("Mul", "scaled", simple("Cast", "float", "pixels", to=TensorProto.FLOAT), "scale")
    x = simple("Relu", "stem_relu", convolution("stem", x, (3, 64, 7), 2))
    x = simple("MaxPool", "pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(STAGES):
        for block in range(blocks):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = simple("Relu", f"{name}.relu1", convolution(f"{name}.conv1", x, (channels, width, 1)))
            y = simple("Relu", f"{name}.relu2", convolution(f"{name}.conv2", y, (width, width, 3), stride))
            y = convolution(f"{name}.conv3", y, (width, 4 * width, 1))
            skip = x if block else convolution(f"{name}.downsample", x, (channels, 4 * width, 1), stride)
            x = simple("Relu", f"{name}.relu3", simple("Add", f"{name}.add", y, skip))
            channels = 4 * width
    flat = simple("Flatten", "flat", simple("GlobalAveragePool", "mean", x))
    simple("Gemm", "scores", flat, constant("fc.weight", 1000, 2048), constant("fc.bias", 1000), transB=1)

    takes = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 3, 224, 224])
    gives = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(nodes, "resnet50", [takes], [gives], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    return file


def made_up_ranges(file: Path) -> Ranges:
    """The range -4 to 4 for every tensor: a compiler does not check ranges."""
    model = clean_graph(file)
    touched = {layer.activation for layer in weighted_layers(model)}
    touched |= {name for node in following_nodes(model) for name in node.input}
    return Ranges(
        onnx_sha256=sha256_of_file(file),
        set_sha256="0" * 64,
        sample_count=128,
        method="minmax",
        percentile=None,
        versions={},
        tensors=dict.fromkeys(sorted(touched), (-4.0, 4.0)),
        channels={},
    )
