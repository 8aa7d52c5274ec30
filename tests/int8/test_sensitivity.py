"""Layers are ranked by what sparing them gains, from errors that are handed in."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from ai102.int8.sensitivity import LayerCost, macs_of, rank
from ai102.weights.graph import clean_graph, weighted_layers
from tests.tiny_nets import WIDTH, residual_cnn, transformer_block

MACS = {"calm": 10, "guilty": 20, "wild": 30}
COSTS = {"calm": 0.0, "guilty": 0.5, "wild": 0.25}


def error_of(floats: Collection[str]) -> float:
    return sum(cost for name, cost in COSTS.items() if name not in floats)


def test_the_guiltiest_layer_comes_first_with_what_it_costs_alone_and_what_sparing_it_gains() -> None:
    assert rank(MACS, error_of) == [
        LayerCost("guilty", 0.5, 0.5, 20),
        LayerCost("wild", 0.25, 0.25, 30),
        LayerCost("calm", 0.0, 0.0, 10),
    ]


def test_equal_guilt_is_ordered_by_name_so_that_the_ranking_is_always_the_same() -> None:
    names = [cost.name for cost in rank(dict.fromkeys("cab", 1), lambda floats: 1.0)]
    assert names == ["a", "b", "c"]


def test_progress_counts_what_is_asked_for() -> None:
    calls: list[tuple[int, int]] = []
    asked: list[Collection[str]] = []
    rank(MACS, lambda floats: float(bool(asked.append(floats))), lambda done, total: calls.append((done, total)))
    assert calls == [(1, 7), (3, 7), (5, 7), (7, 7)]
    assert len(asked) == 7


def test_a_network_of_one_layer_has_that_one_to_blame() -> None:
    assert rank({"only": 5}, lambda floats: 0.125) == [LayerCost("only", 0.125, 0.125, 5)]


def test_no_layers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no layers to rank"):
        rank({}, error_of)


def test_multiply_accumulates_are_those_of_one_sample_and_a_varying_length_counts_once(tmp_path: Path) -> None:
    cnn, block = clean_graph(residual_cnn(tmp_path / "a.onnx")), clean_graph(transformer_block(tmp_path / "b.onnx"))
    assert macs_of(cnn, weighted_layers(cnn)) == {
        "stem": 8 * 1 * 9 * 64,
        "conv1": 8 * 8 * 9 * 64,
        "conv2": 8 * 8 * 9 * 64,
        "head": 80,
    }
    assert macs_of(block, weighted_layers(block)) == {"up": 2 * WIDTH**2, "down": 2 * WIDTH**2}
