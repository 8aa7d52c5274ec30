"""What every emitter starts from: the cleaned graph, its layers chosen by the recipe, its activations smoothed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, NodeProto

from ai102.contract import Recipe
from ai102.errors import UserError
from ai102.int8.ranges import Ranges
from ai102.int8.smooth import smooth
from ai102.weights.graph import Layer, clean_graph, following_nodes, layers_matching, weighted_layers


@dataclass(frozen=True)
class Prepared:
    """The float graph to quantize; nodes keep the names they have in `layers` and `kept`."""

    model: ModelProto
    tensors: dict[str, tuple[float, float]]  # (low, high) of every tensor that may be quantized
    layers: tuple[Layer, ...]  # that run in INT8
    kept: tuple[Layer, ...]  # that stay float
    following: tuple[NodeProto, ...]  # nodes that see nothing but convolutions and each other


def prepared_graph(onnx_file: Path, ranges: Ranges, recipe: Recipe) -> Prepared:
    """Raises UserError when the ranges belong to another ONNX file or method, when the recipe names layers that
    are not there, and when it leaves none to run in INT8."""
    ranges.check_fit(onnx_file)
    if (ranges.method, ranges.percentile) != (recipe.method, recipe.percentile):
        raise UserError(
            f"quantization: the ranges were measured by {_method(ranges)}, the recipe says {_method(recipe)}; "
            "run `ai102 calibrate` again"
        )
    model = clean_graph(onnx_file)
    every_layer = weighted_layers(model)
    kept = layers_matching(every_layer, recipe.keep_float)
    layers = tuple(layer for layer in every_layer if layer not in kept)
    if not layers:
        raise UserError(f"quantization: {onnx_file} has no layer left to run in INT8; keep fewer in float")
    # What follows convolutions is read from the graph before smoothing renames activations.
    following = following_nodes(model)
    tensors = dict(ranges.tensors)
    if recipe.smoothing is not None:
        products = [layer for layer in layers if layer.has_channels_last]
        model, new = smooth(model, products, ranges.channels, recipe.smoothing)
        tensors |= new
    return Prepared(model, tensors, layers, kept, following)


def _method(by: Ranges | Recipe) -> str:
    return by.method if by.percentile is None else f"{by.method} {by.percentile:g}"
