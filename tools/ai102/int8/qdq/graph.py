"""A graph with QuantizeLinear and DequantizeLinear, as the rules ask about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ai102.weights.graph import WEIGHTED_OPERATORS

# Operators that INT8 passes through, so that Q/DQ counts on their other side [tensorrt-rtx 1.7.1, one probe each].
MOVING_OPERATORS = frozenset((
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze",
))  # fmt: skip


# A node that breaks a rule, and in which way.
Found: TypeAlias = tuple[NodeProto, str]


@dataclass(frozen=True)
class Dequantized:
    """What stands between a DequantizeLinear and the input of an operator."""

    node: NodeProto
    axis: int | None  # of the scales, counted at the operator; None where an operator between hides it


class QdqGraph:
    """Looks up who makes, who reads and what is a tensor; graphs inside If, Loop and Scan belong to it."""

    def __init__(self, model: ModelProto) -> None:
        graphs = tuple(_graphs(model.graph))  # the innermost first
        self.nodes = tuple(node for graph in graphs for node in graph.node)
        self.outputs = {output.name for output in model.graph.output}
        self._tensors = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
        self._infos = {info.name: info for g in graphs for info in (*g.input, *g.value_info, *g.output)}
        self._producers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self._readers.setdefault(name, []).append(node)
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._tensors[node.output[0]] = attribute.t
        self._constants = self._find_constants()

    def of_type(self, *op_types: str) -> Iterator[NodeProto]:
        return (node for node in self.nodes if node.op_type in op_types)

    def producer(self, tensor: str) -> NodeProto | None:
        return self._producers.get(tensor)

    def readers(self, tensor: str) -> list[NodeProto]:
        return self._readers.get(tensor, [])

    def is_constant(self, tensor: str) -> bool:
        """Whether it follows from constants alone; the compiler folds such a tensor."""
        return tensor in self._constants

    def value(self, tensor: str) -> NDArray[np.float64] | None:
        """A stored constant; None for one that must be computed first."""
        stored = self._tensors.get(tensor)
        return None if stored is None else numpy_helper.to_array(stored).astype(np.float64)

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """As the file states it, None for an axis of any length; None when it does not."""
        if tensor in self._tensors:
            return tuple(self._tensors[tensor].dims)
        info = self._infos.get(tensor)
        if info is not None and info.type.tensor_type.HasField("shape"):
            return tuple(dim.dim_value or None for dim in info.type.tensor_type.shape.dim)
        made_by = self.producer(tensor)
        return self.shape(made_by.input[0]) if made_by is not None and made_by.op_type == "QuantizeLinear" else None

    def element_type(self, tensor: str) -> int:
        """A TensorProto.DataType, UNDEFINED when the file does not tell."""
        if tensor in self._tensors:
            return int(self._tensors[tensor].data_type)
        made_by = self.producer(tensor)
        if made_by is not None and made_by.op_type == "QuantizeLinear":
            return self.quantized_type(made_by)
        if made_by is not None and made_by.op_type in MOVING_OPERATORS:
            return self.element_type(made_by.input[0])
        info = self._infos.get(tensor)
        return TensorProto.UNDEFINED if info is None else info.type.tensor_type.elem_type

    def quantized_type(self, node: NodeProto) -> int:
        """What a QuantizeLinear gives or a DequantizeLinear takes; uint8 where a QuantizeLinear does not say."""
        if node.op_type == "DequantizeLinear":
            return self.element_type(node.input[0])
        zero = zero_point(node)
        stated = int(attribute(node, "output_dtype", TensorProto.UNDEFINED))
        return stated or (self.element_type(zero) if zero else TensorProto.UINT8)

    @cached_property
    def roundings(self) -> tuple[NodeProto, ...]:
        """Every Q/DQ node once: a DequantizeLinear only where it does not repeat what its QuantizeLinear says."""
        return tuple(
            node
            for node in self.nodes
            if node.op_type == "QuantizeLinear"
            or (
                node.op_type == "DequantizeLinear"
                and ((by := self.quantizer(node)) is None or by.input[1:] != node.input[1:])
            )
        )

    @cached_property
    def products(self) -> tuple[NodeProto, ...]:
        """Convolutions and matrix products, also those of two activations."""
        return tuple(
            node
            for node in self.of_type(*WEIGHTED_OPERATORS)
            if not (self.is_constant(node.input[0]) and self.is_constant(node.input[1]))
        )

    @property
    def weighted_nodes(self) -> tuple[NodeProto, ...]:
        """Convolutions and matrix products of an activation with constants."""
        return tuple(node for node in self.products if self.is_weighted(node))

    def is_weighted(self, node: NodeProto) -> bool:
        return node.op_type in WEIGHTED_OPERATORS and self.is_constant(node.input[0]) != self.is_constant(node.input[1])

    def quantizer(self, dequantizer: NodeProto) -> NodeProto | None:
        """The QuantizeLinear whose integers a DequantizeLinear reads."""
        source = self.behind_moves(dequantizer.input[0])
        return source if source is not None and source.op_type == "QuantizeLinear" else None

    def behind_moves(self, tensor: str) -> NodeProto | None:
        """The node that computed a tensor, past what only moves values about."""
        node = self.producer(tensor)
        while node is not None and node.op_type in MOVING_OPERATORS:
            node = self.producer(node.input[0])
        return node

    def past_moves(self, tensor: str) -> Iterator[NodeProto]:
        """Who computes with a tensor, past what only moves values about or joins them."""
        for node in self.readers(tensor):
            if node.op_type in MOVING_OPERATORS or node.op_type == "Concat":
                yield from (reader for name in node.output for reader in self.past_moves(name))
            else:
                yield node

    def dequantized(self, tensor: str) -> Dequantized | None:
        """The DequantizeLinear that an operator's input comes from in INT8, or None for a float input."""
        node = self.producer(tensor)
        if node is None:
            return None
        if node.op_type == "DequantizeLinear":
            return Dequantized(node, _axis(node, self.shape(node.input[0])))
        if node.op_type == "Concat":
            return self._joined(node)
        if node.op_type not in MOVING_OPERATORS or (before := self.dequantized(node.input[0])) is None:
            return None
        if node.op_type == "Transpose" and before.axis is not None:
            perm = attribute(node, "perm", ())
            return Dequantized(before.node, list(perm).index(before.axis) if before.axis in perm else None)
        return before if node.op_type == "Identity" else Dequantized(before.node, None)

    def _joined(self, concat: NodeProto) -> Dequantized | None:
        """Integers can be joined only where they mean the same."""
        parts = [self.dequantized(name) for name in concat.input]
        values = [None if part is None else self.value(part.node.input[1]) for part in parts]
        is_same = all(value is not None and np.array_equal(value, values[0]) for value in values)  # type: ignore[arg-type]
        return Dequantized(parts[0].node, None) if is_same and parts[0] is not None else None

    def _find_constants(self) -> set[str]:
        constants = set(self._tensors)
        for node in self.nodes:
            has_body = any(attribute.type == AttributeProto.GRAPH for attribute in node.attribute)
            if node.op_type == "Constant" or (
                node.input and not has_body and constants.issuperset(filter(None, node.input))
            ):
                constants.update(node.output)
        return constants


def zero_point(node: NodeProto) -> str:
    """The name of the zero point's tensor, empty where there is none."""
    return str(node.input[2]) if len(node.input) > 2 else ""


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def scales_of(graph: QdqGraph) -> Iterator[tuple[NodeProto, NDArray[np.float64]]]:
    """Every Q/DQ with its scales, where they are stored."""
    for node in graph.roundings:
        if (values := graph.value(node.input[1])) is not None:
            yield node, values


def first(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> str:
    """The first of the chosen values, and which channel's it is."""
    channel = f" in channel {int(np.flatnonzero(chosen)[0])}" if values.size > 1 else ""
    return f"{values[chosen].flat[0]:g}{channel}"


def label(node: NodeProto) -> str:
    return str(node.name or f"{node.op_type} of {node.output[0]}")


def _axis(node: NodeProto, shape: Iterable[object] | None) -> int | None:
    axis = int(attribute(node, "axis", 1))
    if axis >= 0:
        return axis
    return None if shape is None else axis + len(tuple(shape))


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    for node in graph.node:
        for entry in node.attribute:
            if entry.type == AttributeProto.GRAPH:
                yield from _graphs(entry.g)
    yield graph
