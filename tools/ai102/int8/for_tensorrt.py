"""The INT8 graph for TensorRT, from ranges and a recipe: explicit Q/DQ as NVIDIA's placement rules want it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.version_converter import convert_version

from ai102.artifact import replacing
from ai102.contract import Recipe
from ai102.errors import UserError
from ai102.int8.prepare import prepared_graph
from ai102.int8.ranges import Ranges
from ai102.weights.graph import Layer

FloatPrecision = Literal["fp32", "fp16"]

# From this opset on QuantizeLinear takes FP16.
_FP16_OPSET = 19
# Sums and exponents: what they compute on the way does not fit FP16, or loses digits in it.
_FP32_OPERATORS = (
    "Clip", "CumSum", "Exp", "InstanceNormalization", "LayerNormalization", "Pow", "Range", "ReduceL2", "ReduceMean",
    "ReduceSum", "Reciprocal", "Softmax", "Sqrt",
)  # fmt: skip
# Symmetric, so -128 is not used.
_LEVELS = 127
_FP16_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class TensorRTGraph:
    """What was written: the names of the layers that run in INT8 and of those left in float."""

    int8_layers: tuple[str, ...]
    float_layers: tuple[str, ...]


def qdq_from_ranges(
    onnx_file: Path, ranges: Ranges, recipe: Recipe, out_file: Path, *, float_precision: FloatPrecision
) -> TensorRTGraph:
    """Write `onnx_file` with Q/DQ pairs to `out_file`; what is not INT8 computes in `float_precision`.

    Symmetric throughout: one scale per activation, one per output channel of a weight; a bias stays float. The
    inputs and outputs of the network keep their types. The same inputs give the same bytes. Raises UserError as
    `prepared_graph` does, and when a value that calibration saw does not fit FP16.
    """
    given = prepared_graph(onnx_file, ranges, recipe)
    # Taken down by node, since conversion to FP16 puts casts between a node and what is named here.
    nodes = {node.name: node for node in given.model.graph.node}
    constants = {tensor.name: tensor for tensor in given.model.graph.initializer}
    activations = {layer.node: str(nodes[layer.node].input[0]) for layer in given.layers}
    weights = {layer.node: constants[nodes[layer.node].input[1]] for layer in given.layers}
    weights = {node: TensorProto.FromString(tensor.SerializeToString()) for node, tensor in weights.items()}
    residuals = _residual_inputs(given.model, given.following, given.layers)

    model = _in_fp16(given.model, given.tensors) if float_precision == "fp16" else given.model
    pairs = _Pairs(np.float16 if float_precision == "fp16" else np.float32)
    for node in model.graph.node:
        if node.name in activations:
            pairs.quantize_activation(node, 0, given.tensors[activations[node.name]])
            pairs.quantize_weight(node, weights[node.name])
        elif node.name in residuals:
            index, tensor = residuals[node.name]
            pairs.quantize_activation(node, index, given.tensors[tensor])
    pairs.insert_into(model)
    onnx.checker.check_model(model)
    with replacing(out_file) as temporary:
        onnx.save(model, temporary)
    return TensorRTGraph(
        tuple(layer.name for layer in given.layers),
        tuple(layer.name for layer in given.kept),
    )


def _residual_inputs(
    model: ModelProto, following: tuple[NodeProto, ...], layers: tuple[Layer, ...]
) -> dict[str, tuple[int, str]]:
    """By skip addition: which input is the skip, and its tensor. Left float, it would keep the convolution that the
    addition is fused into from running in INT8."""
    int8_nodes = {layer.node for layer in layers}
    convolved = {node.output[0] for node in model.graph.node if node.op_type == "Conv" and node.name in int8_nodes}
    skips = {}
    for node in following:
        if node.op_type == "Add" and convolved & set(node.input):
            # Where both sides are convolutions, the second is the projection by PyTorch's custom: out += skip.
            index = 0 if node.input[0] not in convolved else 1
            skips[node.name] = (index, str(node.input[index]))
    return skips


def _in_fp16(model: ModelProto, tensors: dict[str, tuple[float, float]]) -> ModelProto:
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    for name, (low, high) in tensors.items():
        if max(-low, high) > _FP16_LARGEST:
            raise UserError(
                f"quantization: tensor {name} reaches {max(-low, high):.3g} on the calibration set and FP16 ends at "
                f'{_FP16_LARGEST:g}; write tensorrt = {{ float_precision = "fp32" }}'
            )
    if next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")) < _FP16_OPSET:
        model = convert_version(model, _FP16_OPSET)
    blocked = [*DEFAULT_OP_BLOCK_LIST, *_FP32_OPERATORS]
    converted: ModelProto = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    ONNXModel(converted).topological_sort()  # the casts are at the end of the list
    return converted


@dataclass
class _Pairs:
    """Q/DQ pairs on their way into a graph; nodes that read the same tensor share one."""

    float_type: type[np.float16 | np.float32]
    before: dict[str, list[NodeProto]] = field(default_factory=dict)  # the new nodes, by their first reader
    constants: dict[str, TensorProto] = field(default_factory=dict)
    dequantized: set[str] = field(default_factory=set)

    def quantize_activation(self, node: NodeProto, index: int, limits: tuple[float, float]) -> None:
        tensor = node.input[index]
        rounded, answer = f"{tensor}_quantized", f"{tensor}_dequantized"
        if answer not in self.dequantized:
            # What divides by it may hold the reciprocal in the same type.
            scale = self._scale(np.abs(np.array(limits)).max(), 2 / float(np.finfo(self.float_type).max))
            parameters = self._constants(answer, scale=scale, zero_point=np.int8(0))
            self._put_before(node, "QuantizeLinear", [tensor, *parameters], rounded)
            self._put_before(node, "DequantizeLinear", [rounded, *parameters], answer)
        node.input[index] = answer

    def quantize_weight(self, node: NodeProto, weight: TensorProto) -> None:
        values, axis = numpy_helper.to_array(weight).astype(np.float64), _channel_axis(node)
        answer = f"{weight.name}_dequantized_{axis}"
        if answer not in self.dequantized:
            others = tuple(i for i in range(values.ndim) if i != axis)
            scale = self._scale(np.abs(values).max(axis=others), float(np.finfo(self.float_type).smallest_subnormal))
            steps = np.rint(values / np.expand_dims(scale.astype(np.float64), others))
            int8 = np.clip(steps, -_LEVELS, _LEVELS).astype(np.int8)
            inputs = self._constants(answer, int8=int8, scale=scale, zero_point=np.zeros(len(scale), np.int8))
            self._put_before(node, "DequantizeLinear", inputs, answer, axis=axis)
        node.input[1] = answer

    def insert_into(self, model: ModelProto) -> None:
        """Each new node before its first reader, which keeps the graph in order. Weights that no one reads go."""
        graph = model.graph
        nodes = [new for node in graph.node for new in (*self.before.get(node.name, ()), node)]
        read = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
        tensors = [tensor for tensor in (*graph.initializer, *self.constants.values()) if tensor.name in read]
        graph.ClearField("node")
        graph.node.extend(nodes)
        graph.ClearField("initializer")
        graph.initializer.extend(tensors)

    def _put_before(
        self, reader: NodeProto, operator: str, inputs: list[str], output: str, axis: int | None = None
    ) -> None:
        node = helper.make_node(operator, inputs, [output], output, axis=axis)  # None: the attribute is left out
        self.before.setdefault(reader.name, []).append(node)
        self.dequantized.add(output)

    def _constants(self, prefix: str, **arrays: Any) -> list[str]:
        names = [f"{prefix}_{key}" for key in arrays]
        for name, array in zip(names, arrays.values(), strict=True):
            self.constants[name] = numpy_helper.from_array(np.asarray(array), name)
        return names

    def _scale(self, largest: NDArray[np.float64], at_least: float) -> NDArray[Any]:
        """One step of INT8; never zero, which TensorRT refuses."""
        return np.maximum(largest / _LEVELS, at_least).astype(self.float_type)


def _channel_axis(node: NodeProto) -> int:
    """The axis of a weight that its outputs lie along."""
    is_transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or is_transposed else 1
