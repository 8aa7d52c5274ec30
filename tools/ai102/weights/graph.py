"""The cleaned FP32 graph that calibration and every emitter use, and its layers by name."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto

from ai102.errors import UserError

# The metadata key under which PyTorch's exporter records a node's enclosing modules.
NAME_SCOPES = "pkg.torch.onnx.name_scopes"
WEIGHTED_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Operators beside a convolution that lose nothing in INT8, and must run in it for the convolution to be fused.
_FOLLOWING_OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu", "Resize",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """An operator with constant weights."""

    name: str  # path in the PyTorch module if the file records it, else the node's name
    node: str
    operator: str
    activation: str  # the tensor that is multiplied by the weights
    weight: str
    has_channels_last: bool  # the product sums over the activation's last axis


def clean_graph(onnx_file: Path) -> ModelProto:
    """The graph with constants folded, batch normalisation fused into convolutions and shapes inferred.

    Deterministic, so that ranges computed on it fit the graph that an emitter derives from the same file.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        cleaned = Path(folder) / "cleaned.onnx"
        # Symbolic inference refuses transformers with computed shapes; ONNX's own inference is sufficient here.
        quant_pre_process(str(onnx_file), str(cleaned), skip_symbolic_shape=True)
        model = onnx.load(cleaned)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # the quantizer selects nodes by name
    return model


def weighted_layers(model: ModelProto) -> tuple[Layer, ...]:
    """The layers whose weights are constants, in the graph's order. A matrix product needs weights of rank 2."""
    ranks = {weight.name: len(weight.dims) for weight in model.graph.initializer}
    return tuple(
        Layer(_layer_name(node), node.name, node.op_type, node.input[0], node.input[1], _has_channels_last(node))
        for node in model.graph.node
        if node.op_type in WEIGHTED_OPERATORS
        and node.input[0] not in ranks
        and (ranks.get(node.input[1]) == 2 or (node.op_type.startswith("Conv") and node.input[1] in ranks))
    )


def following_nodes(model: ModelProto) -> tuple[NodeProto, ...]:
    """Activations, pools and skip additions whose inputs are all outputs of convolutions or of each other."""
    produced = {name for node in model.graph.node if node.op_type.startswith("Conv") for name in node.output}
    nodes = []
    for node in model.graph.node:
        # Every input of Add and Concat is data; of the other operators only the first input is.
        data = node.input if node.op_type in ("Add", "Concat") else node.input[:1]
        if node.op_type in _FOLLOWING_OPERATORS and all(name in produced for name in data):
            nodes.append(node)
            produced.update(node.output)
    return tuple(nodes)


def layers_matching(layers: Iterable[Layer], patterns: Sequence[str]) -> tuple[Layer, ...]:
    """The layers whose name or node matches a pattern. Raises UserError for a pattern that matches none."""
    layers = tuple(layers)
    chosen = set[Layer]()
    for pattern in patterns:
        fits = {layer for layer in layers if fnmatchcase(layer.name, pattern) or fnmatchcase(layer.node, pattern)}
        if not fits:
            names = [layer.name for layer in layers]
            shown = ", ".join(names if len(names) <= 8 else [*names[:7], f"... ({len(names)} in all)"])
            raise UserError(f'quantization: no layer fits "{pattern}"; the layers are {shown}')
        chosen |= fits
    return tuple(layer for layer in layers if layer in chosen)


def _has_channels_last(node: NodeProto) -> bool:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return node.op_type in ("Gemm", "MatMul") and not transposed


def _layer_name(node: NodeProto) -> str:
    if node.input[1].endswith(".weight"):
        # ONNX Runtime prefixes a weight's name with what it fused into it.
        return re.sub(r"^(Conv(Bn|Mul)Fusion_W_)*", "", str(node.input[1])).removesuffix(".weight")
    # PyTorch's exporter transposes a Linear's weights under a new name but records the node's enclosing modules.
    scopes = next((entry.value for entry in node.metadata_props if entry.key == NAME_SCOPES), "[]")
    modules = [scope for scope in ast.literal_eval(scopes)[:-1] if scope]
    return str(modules[-1] if modules else node.name)
