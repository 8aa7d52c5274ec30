"""SmoothQuant: outliers in an activation's channels moved into the weights that meet them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ai102.weights.graph import Layer

# A channel that calibration saw (almost) silent must not blow up when it speaks.
_SMALLEST_SHARE = 1e-3


class ChannelRange(Protocol):
    """Smallest and largest value of each channel of an activation; both [channels]."""

    @property
    def lows(self) -> Sequence[float]: ...
    @property
    def highs(self) -> Sequence[float]: ...


def smooth(
    model: ModelProto, layers: Iterable[Layer], channels: Mapping[str, ChannelRange], alpha: float
) -> tuple[ModelProto, dict[str, tuple[float, float]]]:
    """A graph that computes the same with tamer activations, and (low, high) of each activation that is new.

    Before each of the matrix products `layers` its activation is multiplied by 1/s, its weights by s, channel
    by channel: s = max|X|^alpha / max|W|^(1-alpha), equation 4 of Xiao et al. 2022, https://arxiv.org/abs/2211.10438.
    Layers that share an activation share s. `channels` holds the range of every activation of `layers`.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel

    smoothed = ModelProto()
    smoothed.CopyFrom(model)
    graph = smoothed.graph
    nodes = {node.name: node for node in graph.node}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    sharing: dict[str, list[Layer]] = {}
    for layer in layers:
        sharing.setdefault(layer.activation, []).append(layer)

    ranges = {}
    for activation, group in sharing.items():
        weights = [_weights_by_channel(nodes[layer.node], tensors[layer.weight]) for layer in group]
        seen = channels[activation]
        scale = _scale(seen, weights, alpha)
        tame, factor = f"{activation}_smoothed", f"{activation}_smoothing"
        graph.initializer.append(numpy_helper.from_array((1 / scale).astype(np.float32), factor))
        graph.node.append(helper.make_node("Mul", [activation, factor], [tame], tame))
        ranges[tame] = (float((np.array(seen.lows) / scale).min()), float((np.array(seen.highs) / scale).max()))
        for layer, weight in zip(group, weights, strict=True):
            node, name = nodes[layer.node], f"{layer.node}_smoothed_weight"
            scaled = (weight * scale[:, None]).astype(np.float32)
            stored = np.ascontiguousarray(scaled.T) if _is_transposed(node) else scaled
            graph.initializer.append(numpy_helper.from_array(stored, name))
            node.input[0], node.input[1] = tame, name

    tidy = ONNXModel(smoothed)
    tidy.topological_sort()
    tidy.clean_initializers()
    return smoothed, ranges


def _scale(seen: ChannelRange, weights: list[NDArray[np.float32]], alpha: float) -> NDArray[np.float64]:
    """[channels]; `weights` are [channels, columns]."""
    magnitudes = _floored(np.maximum(np.abs(seen.lows), np.abs(seen.highs)))
    largest_weights = _floored(np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0))
    return np.asarray(magnitudes**alpha / largest_weights ** (1 - alpha))


def _floored(values: NDArray[np.floating]) -> NDArray[np.float64]:  # type: ignore[type-arg]
    largest = float(values.max()) or 1.0
    return np.maximum(values.astype(np.float64), largest * _SMALLEST_SHARE)


def _weights_by_channel(node: NodeProto, weight: TensorProto) -> NDArray[np.float32]:
    """[channels, columns], however the operator stores it."""
    array = numpy_helper.to_array(weight)
    return array.T if _is_transposed(node) else array


def _is_transposed(node: NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i == 1 for attribute in node.attribute)
