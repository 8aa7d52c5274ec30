"""Layers are listed, with the names of the PyTorch modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ai102.errors import UserError
from ai102.weights.graph import clean_graph, following_nodes, layers_matching, weighted_layers
from tests.tiny_nets import residual_cnn, transformer_block, write


def test_batch_normalisation_is_fused_and_layers_have_the_names_of_their_weights(tmp_path: Path) -> None:
    model = clean_graph(residual_cnn(tmp_path / "cnn.onnx"))
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [layer.name for layer in weighted_layers(model)] == ["stem", "conv1", "conv2", "head"]
    assert [node.op_type for node in following_nodes(model)] == ["Relu", "Relu", "Add", "Relu", "GlobalAveragePool"]


def test_a_layer_whose_weights_lost_their_name_has_that_of_its_pytorch_module(tmp_path: Path) -> None:
    file = transformer_block(tmp_path / "block.onnx")
    model = onnx.load(file)
    for name, new in (("up.weight", "val_17"), ("down.weight", "val_18")):
        next(tensor for tensor in model.graph.initializer if tensor.name == name).name = new
        node = next(node for node in model.graph.node if name in node.input)
        node.input[1] = new
        if new == "val_17":
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'mlp', 'mlp.up', 'linear']")
    onnx.save(model, file)
    assert [layer.name for layer in weighted_layers(clean_graph(file))] == ["mlp.up", "matmul_4"]


def test_only_nodes_whose_inputs_are_convolutions_follow_them(tmp_path: Path) -> None:
    node = helper.make_node
    weights: dict[str, Any] = {
        "a.weight": np.ones((2, 2, 1, 1), np.float32),
        "position": np.ones((1, 2, 8, 8), np.float32),
    }
    nodes = [
        node("Sigmoid", ["x"], ["gate"]),
        node("Conv", ["gate", "a.weight"], ["a"]),
        node("Add", ["a", "gate"], ["with_float"], "with_float"),
        node("Add", ["a", "position"], ["with_constant"], "with_constant"),
        node("Relu", ["a"], ["relu"], "relu"),
        node("Concat", ["a", "relu"], ["both"], "both", axis=1),
        node("Concat", ["both", "with_float", "with_constant"], ["y"], "with_others", axis=1),
    ]
    takes: Any = ("x", TensorProto.FLOAT, ["batch", 2, 8, 8])
    file = write(tmp_path / "net.onnx", nodes, weights, takes, ("y", ["batch", 8, 8, 8]))
    assert [following.name for following in following_nodes(onnx.load(file))] == ["relu", "both"]


def test_products_of_two_activations_are_not_layers(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["turned"]), helper.make_node("MatMul", ["x", "turned"], ["y"])]
    file = write(tmp_path / "net.onnx", nodes, {}, ("x", TensorProto.FLOAT, [3, 3]), ("y", [3, 3]))
    assert weighted_layers(clean_graph(file)) == ()


def test_nodes_without_a_name_get_one(tmp_path: Path) -> None:
    file = transformer_block(tmp_path / "block.onnx")
    model = onnx.load(file)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, file)
    names = [node.name for node in clean_graph(file).graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_pattern_that_matches_no_layer_is_refused_with_the_existing_names(tmp_path: Path) -> None:
    layers = weighted_layers(clean_graph(residual_cnn(tmp_path / "cnn.onnx")))
    assert [layer.name for layer in layers_matching(layers, ["conv?", "stem"])] == ["stem", "conv1", "conv2"]
    with pytest.raises(UserError, match=r'no layer fits "conv9"; the layers are stem, conv1, conv2, head$'):
        layers_matching(layers, ["conv1", "conv9"])
