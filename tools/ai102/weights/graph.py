"""The FP32 graph as calibration and every emitter see it: cleaned, and its layers by name."""

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

# Where PyTorch's exporter notes the modules a node came through.
NAME_SCOPES = "pkg.torch.onnx.name_scopes"
WEIGHTED_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What runs in INT8 at no loss beside a convolution, and must, or the convolution is not fused.
_FOLLOWING_OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu", "Resize",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """An operator with constant weights."""

    name: str  # path in the PyTorch module where the file tells it, else the node's name
    node: str
    operator: str
    activation: str  # the tensor that meets the weights
    weight: str
    has_channels_last: bool  # the activation's last axis is what the product sums over


def clean_graph(onnx_file: Path) -> ModelProto:
    """The graph with constants folded, batch normalisation inside its convolutions and shapes inferred.

    Deterministic, so that ranges found on it fit the graph that an emitter derives from the same file.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        cleaned = Path(folder) / "cleaned.onnx"
        # Symbolic inference refuses transformers with computed shapes; ONNX's own finds what is needed here.
        quant_pre_process(str(onnx_file), str(cleaned), skip_symbolic_shape=True)
        model = onnx.load(cleaned)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # the quantizer picks nodes by name
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
    """Activations, pools and skip additions that see nothing but convolutions and each other."""
    produced = {name for node in model.graph.node if node.op_type.startswith("Conv") for name in node.output}
    found = []
    for node in model.graph.node:
        # Every summand of Add and Concat counts; of the others only the first input is data.
        data = node.input if node.op_type in ("Add", "Concat") else node.input[:1]
        if node.op_type in _FOLLOWING_OPERATORS and all(name in produced for name in data):
            found.append(node)
            produced.update(node.output)
    return tuple(found)


def layers_matching(layers: Iterable[Layer], patterns: Sequence[str]) -> tuple[Layer, ...]:
    """The layers whose name or node fits a pattern. Raises UserError for a pattern that fits none."""
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
        # ONNX Runtime writes what it folded into a weight before its name.
        return re.sub(r"^(Conv(Bn|Mul)Fusion_W_)*", "", str(node.input[1])).removesuffix(".weight")
    # PyTorch's exporter transposes a Linear's weights under a new name but writes down the modules it came through.
    scopes = next((entry.value for entry in node.metadata_props if entry.key == NAME_SCOPES), "[]")
    modules = [scope for scope in ast.literal_eval(scopes)[:-1] if scope]
    return str(modules[-1] if modules else node.name)
