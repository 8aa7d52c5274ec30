"""Which layers of a plan compute in INT8, read from the builder's layer list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ai102.weights.graph import WEIGHTED_OPERATORS

# The builder's layer types of products. A runtime_fusion also reads INT8, but dequantizes before it multiplies.
_PRODUCTS = ("correlation", "deconv", "gemm")


class BuiltLayer(NamedTuple):
    """A layer of the plan: a kernel for one ONNX node or for several that were fused."""

    name: str
    nodes: tuple[str, ...]  # names of the ONNX nodes it computes
    is_int8: bool  # takes an INT8 activation and INT8 weights


def nodes_meant_for_int8(onnx_file: Path) -> tuple[str, ...]:
    """The operators that take a dequantized activation and dequantized weights."""
    import onnx

    graph = onnx.load(onnx_file, load_external_data=False).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return tuple(
        node.name for node in graph.node if node.op_type in WEIGHTED_OPERATORS and set(node.input[:2]) <= dequantized
    )


def nodes_in_int8(layers: Iterable[BuiltLayer], nodes: Iterable[str]) -> tuple[str, ...]:
    """Those of the ONNX `nodes` that a layer computes in INT8."""
    int8_nodes = {node for layer in layers if layer.is_int8 for node in layer.nodes}
    return tuple(node for node in nodes if node in int8_nodes)


def layers_from_log(message: str) -> tuple[BuiltLayer, ...]:
    """From the list that the builder logs under ProfilingVerbosity.DETAILED, one line per layer."""
    layers = []
    for line in message.splitlines():
        if not line.startswith("Name: ") or "LayerType: " not in line:
            continue
        name = line.removeprefix("Name: ").split(",", 1)[0]
        inputs = line.partition(" Inputs: [")[2].partition("], Constants: [")[0]
        constants = line.partition("], Constants: [")[2].partition("], Outputs: [")[0]
        kind = line.partition("LayerType: ")[2].partition(",")[0]
        is_int8 = kind in _PRODUCTS and "Datatype: Int8" in inputs and "Datatype: Int8" in constants
        layers.append(BuiltLayer(name, _nodes(line.rpartition("Metadata: ")[2]), is_int8))
    return tuple(layers)


def layers_from_inspector(text: str) -> tuple[BuiltLayer, ...]:
    """From EngineInspector.get_engine_information(LayerInformationFormat.JSON) of a loaded plan.

    Its keys differ between versions: types are under "Datatype" or "Format/Datatype", weights under "Weights"
    or "Constants".
    """
    layers = []
    for layer in json.loads(text)["Layers"]:
        if not isinstance(layer, dict):  # names alone: the plan was not built with DETAILED
            layers.append(BuiltLayer(str(layer), (), False))
            continue
        inputs = json.dumps(layer.get("Inputs", [])).lower()
        weights = json.dumps([layer.get("Weights", []), layer.get("Constants", [])]).lower()
        is_int8 = "int8" in inputs and "int8" in weights
        layers.append(BuiltLayer(str(layer.get("Name")), _nodes(str(layer.get("Metadata", ""))), is_int8))
    return tuple(layers)


def _nodes(metadata: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\[ONNX Layer: ([^\]]*)\]", metadata))
