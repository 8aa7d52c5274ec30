"""What TensorRT takes in silence and computes in float, or wrong: one function a rule, (node, what it does) of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from ai102.int8.qdq.graph import Found, QdqGraph, attribute, first, label, scales_of, zero_point


def computed_scales(graph: QdqGraph, *, for_convolutions: bool) -> Iterator[Found]:
    convolved = [tensor for node in graph.products if node.op_type.startswith("Conv") for tensor in node.input[:2]]
    read = [pair.node for tensor in convolved if (pair := graph.dequantized(tensor)) is not None]
    concerned = {label(node) for node in read} | {label(q) for node in read if (q := graph.quantizer(node)) is not None}
    for node in graph.roundings:
        if not graph.is_constant(node.input[1]) and (label(node) in concerned) is for_convolutions:
            yield node, f"has scale {node.input[1]}, which is computed at run time"


def uint8_without_offset(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type("QuantizeLinear"):
        zeros = graph.value(zero_point(node))
        if graph.quantized_type(node) == TensorProto.UINT8 and zeros is not None and not zeros.any():
            yield node, "quantizes to uint8 with zero point 0"


def missing_zero_points(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type("QuantizeLinear"):
        if not zero_point(node) and graph.quantized_type(node) == TensorProto.UINT8:
            yield node, "has no zero-point input, which makes it uint8"


def infinite_scales(graph: QdqGraph) -> Iterator[Found]:
    for node, scales in scales_of(graph):
        if (bad := np.isposinf(scales)).any():
            yield node, f"has scale {first(scales, bad)}"


def per_channel_activations(graph: QdqGraph) -> Iterator[Found]:
    for node, scales in scales_of(graph):
        if scales.size > 1 and not graph.is_constant(node.input[0]):
            yield node, f"has {scales.size} scales for an activation"


def listed_scales(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.products:
        pair = graph.dequantized(node.input[0])
        scales = None if pair is None else graph.value(pair.node.input[1])
        if node.op_type.startswith("Conv") and pair is not None and scales is not None and scales.shape == (1,):
            yield pair.node, f"has a scale of shape [1] where {label(node)} convolves"


def misplaced_scales(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.weighted_nodes:
        index = 0 if graph.is_constant(node.input[0]) else 1
        pair = graph.dequantized(node.input[index])
        scales = None if pair is None else graph.value(pair.node.input[1])
        expected = _channel_axis(graph, node, index)
        if pair is None or scales is None or scales.size == 1 or scales.ndim != 1 or pair.axis is None:
            continue
        if expected not in (None, pair.axis):
            yield node, f"has weights with scales along axis {pair.axis}, its output channels are on axis {expected}"


def _channel_axis(graph: QdqGraph, node: NodeProto, index: int) -> int | None:
    """The axis of the weights, input `index` of the node, that its outputs lie along."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return int(not attribute(node, "transB", 0)) if index else int(attribute(node, "transA", 0))
    pair = graph.dequantized(node.input[index])
    shape = None if pair is None else graph.shape(pair.node.input[0])
    return None if shape is None else len(shape) - (1 if index else 2)


def half_quantized_products(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.products:
        is_quantized = [graph.dequantized(tensor) is not None for tensor in node.input[:2]]
        if sum(is_quantized) == 1:
            tensor = node.input[is_quantized.index(False)]
            source = graph.producer(tensor)
            by = "" if source is None else f" (of {source.op_type} {label(source)})"
            yield node, f"{node.op_type} has one input quantized and {tensor}{by} in float"
