"""What each layer costs in INT8: one layer at a time, and all but one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from ai102.progress import Progress
from ai102.weights.graph import Layer

# The layers that stay float, to the error that the network then makes.
ErrorOf = Callable[[Collection[str]], float]


@dataclass(frozen=True)
class LayerCost:
    """The error that a layer brings alone, and the error that is gone when it alone is spared."""

    name: str
    cost_alone: float
    cost_spared: float  # slightly below 0 is noise
    macs: int


def rank(macs: Mapping[str, int], error_of: ErrorOf, progress: Progress = lambda done, total: None) -> list[LayerCost]:
    """The layers of `macs`, the costliest first: by what sparing it gains, then what it costs alone, then by name.

    `error_of` is asked 2n + 1 times for n layers; `progress` counts these. Raises ValueError without layers.
    """
    if not macs:
        raise ValueError("no layers to rank")
    total = 2 * len(macs) + 1
    everything = error_of(())
    progress(1, total)
    costs = []
    for number, name in enumerate(macs):
        # A network of one layer has nothing else to keep in float: alone it costs everything.
        alone = error_of([other for other in macs if other != name]) if len(macs) > 1 else everything
        spared = everything - error_of([name]) if len(macs) > 1 else everything
        costs.append(LayerCost(name, alone, spared, macs[name]))
        progress(2 * number + 3, total)
    return sorted(costs, key=lambda cost: (-cost.cost_spared, -cost.cost_alone, cost.name))


def macs_of(model: ModelProto, layers: Iterable[Layer]) -> dict[str, int]:
    """Multiply-accumulates per sample of each layer, by name; a dimension that varies counts once.

    Raises ValueError where shape inference did not find a layer's output.
    """
    shapes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim[1:]]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    nodes = {node.name: node for node in model.graph.node}
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    counts = {}
    for layer in layers:
        output = nodes[layer.node].output[0]
        if output not in shapes:
            raise ValueError(f"the shape of {output} is not known")
        # Every output value sums over all weights that its own channel does not distinguish.
        channels = _output_channels(layer, weights[layer.weight], shapes[output])
        counts[layer.name] = int(np.prod(shapes[output]) * np.prod(weights[layer.weight]) / channels)
    return counts


def _output_channels(layer: Layer, weight: tuple[int, ...], shape: list[int]) -> int:
    if layer.operator == "Conv":
        return weight[0]
    return shape[0] if layer.operator == "ConvTranspose" else shape[-1]
