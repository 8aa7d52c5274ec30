"""Where NVIDIA advises against Q/DQ: one function a rule, (node, what it does) of each."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from ai102.int8.qdq.graph import Found, QdqGraph, label
from ai102.weights.graph import WEIGHTED_OPERATORS

# They need the exponent of a float.
_FLOAT_OPERATORS = ("Erf", "FastGelu", "Gelu", "LayerNormalization", "LogSoftmax", "RMSNormalization", "Softmax")
# What is fused behind a convolution or a matrix product.
_FUSED_OPERATORS = ("Clip", "LeakyRelu", "Relu")
_FACTOR_OPERATORS = ("Div", "Mul")


def float_operators_behind_qdq(graph: QdqGraph) -> Iterator[Found]:
    for node in graph.of_type(*_FLOAT_OPERATORS):
        if graph.dequantized(_behind_factors(graph, node.input[0])) is not None:
            yield node, f"{node.op_type} reads a rounded tensor"


def skip_additions(graph: QdqGraph) -> Iterator[Found]:
    """Exactly one summand rounded: the one that is not the convolution's own."""
    for node in graph.of_type("Add"):
        if any(graph.is_constant(name) for name in node.input):
            continue
        convolutions = [_convolution_before(graph, name) for name in node.input]
        rounded = [graph.dequantized(name) is not None for name in node.input]
        if not any(rounded) and any(convolutions):
            first = next(label(one) for one in convolutions if one is not None)
            yield node, f"adds a float tensor to what {first} gives"
        elif all(rounded) and (conv := _rounded_convolution(graph, node)) is not None:
            yield node, f"adds two rounded tensors, one of them what {label(conv)} gives"


def rounded_outputs(graph: QdqGraph) -> Iterator[Found]:
    for node, readers in _unused(graph):
        if (layer := _layer_before(graph, node.input[0])) is not None:
            yield node, f"rounds what {layer.op_type} {label(layer)} gives for {readers}"


def idle_qdq(graph: QdqGraph) -> Iterator[Found]:
    for node, readers in _unused(graph):
        if _layer_before(graph, node.input[0]) is None:
            yield node, f"rounds {node.input[0]} for {readers}"


def _unused(graph: QdqGraph) -> Iterator[tuple[NodeProto, str]]:
    """The QuantizeLinear of activations whose integers nothing computes with, and who reads them instead."""
    for node in graph.of_type("QuantizeLinear"):
        if graph.is_constant(node.input[0]) or node.output[0] in graph.outputs:
            continue
        dequantizers = [reader for reader in graph.past_moves(node.output[0]) if reader.op_type == "DequantizeLinear"]
        readers = [reader for dequantizer in dequantizers for reader in graph.past_moves(dequantizer.output[0])]
        if dequantizers and not any(_wants_int8(graph, reader) for reader in readers):
            named = sorted({f"{reader.op_type} {label(reader)}" for reader in readers})
            yield node, ", ".join(named[:3]) or "an output of the network"


def _wants_int8(graph: QdqGraph, node: NodeProto) -> bool:
    """Whether a reader computes with integers, or another rule tells that it does not."""
    if node.op_type in (*WEIGHTED_OPERATORS, *_FLOAT_OPERATORS, "Add", "QuantizeLinear"):
        return True
    covered = ("QuantizeLinear", *WEIGHTED_OPERATORS, *(_FLOAT_OPERATORS if node.op_type in _FACTOR_OPERATORS else ()))
    return any(reader.op_type in covered for name in node.output for reader in graph.past_moves(name))


def _layer_before(graph: QdqGraph, tensor: str) -> NodeProto | None:
    """The weighted layer whose answer a tensor is, perhaps with a bias or through what is fused behind it."""
    node = graph.behind_moves(tensor)
    while node is not None and node.op_type in (*_FUSED_OPERATORS, "Add"):
        summands = [name for name in node.input[:2] if node.op_type != "Add" or not graph.is_constant(name)]
        if node.op_type == "Add" and len(summands) != 1:
            return None
        node = graph.behind_moves(summands[0])
    return node if node is not None and graph.is_weighted(node) else None


def _convolution_before(graph: QdqGraph, tensor: str) -> NodeProto | None:
    """The INT8 convolution that gives a tensor, with nothing between."""
    node = graph.producer(tensor)
    if node is None or node.op_type != "Conv" or len(graph.readers(tensor)) != 1:
        return None
    return node if all(graph.dequantized(name) is not None for name in node.input[:2]) else None


def _rounded_convolution(graph: QdqGraph, addition: NodeProto) -> NodeProto | None:
    """The INT8 convolution whose answer is rounded for this addition and nothing else."""
    for name in addition.input:
        pair = graph.dequantized(name)
        quantizer = None if pair is None else graph.quantizer(pair.node)
        if quantizer is not None and (conv := _convolution_before(graph, quantizer.input[0])) is not None:
            return conv
    return None


def _behind_factors(graph: QdqGraph, tensor: str) -> str:
    """GELU written out divides by a constant before Erf."""
    node = graph.producer(tensor)
    if node is None or node.op_type not in _FACTOR_OPERATORS:
        return tensor
    return next((name for name in node.input if not graph.is_constant(name)), tensor)
