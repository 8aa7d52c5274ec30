"""Profiles follow from the contract, and INT8 layers are read from both of the builder's lists."""

from __future__ import annotations

import json
from pathlib import Path

from ai102.build.workspace import Workspace
from ai102.contract import TensorRTOptions
from ai102.tensorrt.layers import layers_from_inspector, layers_from_log, nodes_in_int8
from ai102.tensorrt.messages import PARTS, Phases
from ai102.tensorrt.profiles import profiles_of_network

ROOT = Path(__file__).parents[2]
LOG = """Layers:
Name: conv_myl0_1, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,4], Datatype: Int8, Format: x }], \
Constants: [ { Name: w, Dimensions: [4,4], Datatype: Int8, Format: x }], Outputs: [ { Name: o, Datatype: Float }], \
TacticName: t, StreamId: 0, Metadata: [ONNX Layer: conv][ONNX Layer: a_dequantized]
Name: q+k, LayerType: gemm, Inputs: [ { Name: a, Datatype: Half }], Constants: [ { Name: w, Datatype: Int8 }], \
Outputs: [ { Name: o, Datatype: Int8 }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: q][ONNX Layer: k]

I/O Tensors:
 Name: a, IOMode: Input, DataType: Int8
"""


def test_int8_layers_are_those_with_an_int8_activation_and_int8_weights() -> None:
    layers = layers_from_log(LOG)
    assert [(layer.name, layer.nodes, layer.is_int8) for layer in layers] == [
        ("conv_myl0_1", ("conv", "a_dequantized"), True),
        ("q+k", ("q", "k"), False),
    ]
    assert nodes_in_int8(layers, ["conv", "q", "k"]) == ("conv",)


def test_the_inspectors_list_is_read_in_both_of_its_forms() -> None:
    layers = [
        {
            "Name": "conv",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "a", "Dimensions": [1, 4], "Format/Datatype": "Thirty-two wide channel INT8 format"}],
            "Weights": {"Type": "Int8", "Count": 16},
            "Metadata": "[ONNX Layer: conv]",
        },
        {
            "Name": "gemm",
            "LayerType": "gemm",
            "Inputs": [{"Name": "a", "Datatype": "Int8"}],
            "Constants": [{"Name": "w", "Datatype": "Int8"}],
            "Metadata": "[ONNX Layer: gemm]",
        },
        {
            "Name": "float",
            "Inputs": [{"Name": "a", "Format/Datatype": "Row major linear FP16 format"}],
            "Weights": {"Type": "Half", "Count": 16},
            "Metadata": "[ONNX Layer: float]",
        },
        "a layer of a plan that was built without types",
    ]
    built_layers = layers_from_inspector(json.dumps({"Layers": layers, "Bindings": []}))
    assert nodes_in_int8(built_layers, ["conv", "gemm", "float"]) == ("conv", "gemm")


def test_profiles_span_batches_and_lengths_of_the_contract() -> None:
    contract = Workspace.of(ROOT / "models.toml").contract
    most = contract.networks["minilm"].batching.max_batch_size
    tuned = contract.networks["minilm"].model_copy(update={"tensorrt": TensorRTOptions(opt_batch_size=8)})
    assert profiles_of_network(tuned)["attention_mask"] == ((1, 16), (8, 64), (most, 256))
    digits = profiles_of_network(contract.networks["digits"])
    assert digits == {"pixels": ((1, 1, 8, 8), (64, 1, 8, 8), (64, 1, 8, 8))}


def test_nested_phases_fill_their_parents_step_and_never_decrease() -> None:
    phases, seen = Phases(), []
    phases.start("build", None, 2)
    phases.start("parts", "build", 4)
    for step in range(4):
        phases.step("parts", step)
        seen.append(phases.done)
    phases.finish("parts")
    phases.step("build", 0)
    seen.append(phases.done)
    phases.start("parts", "build", 2)  # the same name again, in the next step
    phases.step("parts", 0)
    seen.append(phases.done)
    phases.step("build", 1)
    assert (seen, phases.done) == ([125, 250, 375, 500, 500, 750], PARTS)
