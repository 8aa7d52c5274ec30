"""What TensorRT's parser or builder refuses in a Q/DQ graph: one function a rule, (node, what it does) of each."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorProto

from ai102.int8.qdq.graph import Found, QdqGraph, attribute, first, scales_of, zero_point

# int32 and uint8 have rules of their own; what has no type known to the file is not judged.
_TYPES_OF_TENSORRT = (
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT4, TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT4E2M1, TensorProto.UNDEFINED,
)  # fmt: skip


def int32_tensors(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type("DequantizeLinear"):
        if graph.element_type(node.input[0]) == TensorProto.INT32:
            yield node, f"dequantizes int32 tensor {node.input[0]}"


def non_zero_zero_points(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.roundings:
        values = graph.value(zero_point(node))
        if values is not None and values.any():
            yield node, f"has zero point {first(values, values != 0)}"


def scales_not_positive(graph: QdqGraph) -> Iterator[Found]:
    for node, scales in scales_of(graph):
        if (bad := ~(scales > 0)).any():
            yield node, f"has scale {first(scales, bad)}"


def miscounted_scales(graph: QdqGraph) -> Iterator[Found]:
    for node, scales in scales_of(graph):
        shape = graph.shape(node.input[0])
        if shape is None or scales.ndim != 1 or scales.size == 1:
            continue
        axis = int(attribute(node, "axis", 1))
        expected = shape[axis] if -len(shape) <= axis < len(shape) else None
        if expected not in (None, scales.size):
            yield node, f"has {scales.size} scales for the {expected} channels on axis {axis}"


def miscounted_zero_points(graph: QdqGraph) -> Iterator[Found]:
    for node, scales in scales_of(graph):
        zeros = graph.value(zero_point(node))
        if zeros is not None and zeros.size != scales.size:
            yield node, f"has {scales.size} scales and {zeros.size} zero points"


def qlinear_operators(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.nodes:
        if node.op_type.startswith("QLinear") or node.op_type in ("QGemm", "QAttention"):
            yield node, f"is {node.op_type}"


def integer_operators(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type(
        "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"
    ):
        yield node, f"is {node.op_type}"


def other_types(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.roundings:
        kind = graph.quantized_type(node)
        if kind not in _TYPES_OF_TENSORRT:
            yield node, f"quantizes to {TensorProto.DataType.Name(kind).lower()}"


def uint8_tensors(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type("DequantizeLinear"):
        if graph.element_type(node.input[0]) == TensorProto.UINT8 and graph.quantizer(node) is None:
            yield node, f"dequantizes uint8 tensor {node.input[0]}"


def quantized_scalars(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type("DequantizeLinear"):
        if graph.value(node.input[0]) is not None and graph.shape(node.input[0]) == ():
            yield node, f"dequantizes scalar {node.input[0]}"


def computed_zero_points(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.roundings:
        if (zero := zero_point(node)) and not graph.is_constant(zero):
            yield node, f"has zero point {zero}, which is computed at run time"
