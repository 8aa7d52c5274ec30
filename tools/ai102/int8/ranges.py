"""The range of values that each tensor of a network takes on real samples, and what it was measured on."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai102.artifact import replacing, sha256_of_file
from ai102.contract import Method
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.weights.graph import WEIGHTED_OPERATORS, clean_graph, following_nodes, weighted_layers

MIN_SAMPLES = 128
# Entropy tries every threshold between its levels and all bins; its time grows with the square of the bins.
_BINS = {"percentile": 2048, "entropy": 512}
_ENTROPY_LEVELS = 128

Batch = Mapping[str, NDArray[Any]]
_Extremes = tuple[NDArray[np.float32], NDArray[np.float32]]


class ChannelRange(BaseModel):
    """Smallest and largest value of each entry along a tensor's last axis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lows: tuple[float, ...]
    highs: tuple[float, ...]


class Ranges(BaseModel):
    """(low, high) of every float tensor that an emitter may quantize, and where the numbers come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    onnx_sha256: str
    set_sha256: str
    sample_count: int = Field(ge=1)
    method: Method
    percentile: float | None
    versions: dict[str, str]
    tensors: dict[str, tuple[float, float]]
    # By smallest and largest value whatever the method: smoothing starts from them.
    channels: dict[str, ChannelRange]

    def save(self, file: Path) -> None:
        text = self.model_dump_json().replace('],"', '],\n"').replace('},"', '},\n"')
        with replacing(file) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path, onnx_file: Path) -> Ranges:
        """The ranges in `file`. Raises UserError when there are none or they belong to another ONNX file."""
        try:
            ranges = cls.model_validate_json(file.read_bytes())
        except FileNotFoundError as err:
            raise UserError(f"{file}: no such file; run `ai102 calibrate`") from err
        except ValidationError as err:
            raise UserError(f"{file}: not a file of ranges ({err.errors()[0]['msg']}); run `ai102 calibrate`") from err
        ranges.check_fit(onnx_file)
        return ranges

    def check_fit(self, onnx_file: Path) -> None:
        """Raises UserError when the ranges belong to another ONNX file."""
        if (sha256 := sha256_of_file(onnx_file)) != self.onnx_sha256:
            raise UserError(
                f"ranges belong to an ONNX file with sha256 {self.onnx_sha256[:12]}..., but {onnx_file} has "
                f"{sha256[:12]}...; run `ai102 calibrate` again"
            )


def find_ranges(
    onnx_file: Path,
    batches: Iterable[Batch],
    *,
    sample_count: int,
    set_sha256: str,
    method: Method = "minmax",
    percentile: float | None = None,
    progress: Progress = lambda done, total: None,
) -> Ranges:
    """Run every batch through the network and note the values of all tensors that an emitter may quantize.

    `batches` hold inputs by name, the batch first; shapes may differ from batch to batch, so texts need no
    more padding than their neighbours. `percentile` belongs to the method of that name. `progress` counts samples.
    Raises UserError when `batches` hold fewer than MIN_SAMPLES or other than `sample_count` samples, other
    inputs than the network's, or NaN or infinity, and when the network itself answers with these.
    """
    if sample_count < MIN_SAMPLES:
        raise UserError(f"calibration: {sample_count} samples, at least {MIN_SAMPLES} are needed; enlarge the set")
    model = clean_graph(onnx_file)
    by_channel = {layer.activation for layer in weighted_layers(model) if layer.has_channels_last}
    run = _watched_run(model)
    histograms = _histograms(method, percentile)
    extremes: dict[str, _Extremes] = {}
    done = 0
    for batch in batches:
        where = f"calibration: samples {done + 1} and on"
        values = run(batch, where)
        for name, array in values.items():
            axes = tuple(range(array.ndim - 1)) if name in by_channel else None
            low, high = array.min(axis=axes), array.max(axis=axes)
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise UserError(f"{where}: tensor {name} of the network is NaN or infinite; check the export")
            before = extremes.get(name, (low, high))
            extremes[name] = (np.minimum(before[0], low), np.maximum(before[1], high))
        if histograms:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints a line per batch
                histograms.collect({name: [array] for name, array in values.items()})
        done += len(next(iter(batch.values())))
        progress(done, sample_count)
    if done != sample_count:
        raise UserError(
            f"calibration: {done} samples were read, {sample_count} are declared: the iterator was read twice or ends "
            "early, or the set is not the one declared"
        )
    tensors = {name: (low.min(), high.max()) for name, (low, high) in extremes.items()}
    if histograms:
        with contextlib.redirect_stdout(io.StringIO()):
            thresholds = histograms.compute_collection_result()
        tensors = {name: (values[0], values[1]) for name, values in thresholds.items()}
    return Ranges(
        onnx_sha256=sha256_of_file(onnx_file),
        set_sha256=set_sha256,
        sample_count=sample_count,
        method=method,
        percentile=percentile,
        versions={package: version(package) for package in ("onnx", "onnxruntime", "numpy")},
        tensors={name: (_rounded(low), _rounded(high)) for name, (low, high) in sorted(tensors.items())},
        channels={
            name: ChannelRange(
                lows=tuple(_rounded(value) for value in extremes[name][0]),
                highs=tuple(_rounded(value) for value in extremes[name][1]),
            )
            for name in sorted(by_channel)
        },
    )


def _watched_run(model: ModelProto) -> Callable[[Batch, str], dict[str, NDArray[np.float32]]]:
    """(batch, where) to the value of every float tensor at a layer, or at an operator that follows convolutions."""
    nodes = [node for node in model.graph.node if node.op_type in WEIGHTED_OPERATORS]
    touched = {name for node in [*nodes, *following_nodes(model)] for name in [*node.input, *node.output]}
    touched -= {tensor.name for tensor in model.graph.initializer} | {""}
    inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    produced = {name for node in model.graph.node for name in node.output}
    watched = sorted(touched & produced)
    session = session_that_also_gives(model, watched)

    def run(batch: Batch, where: str) -> dict[str, NDArray[np.float32]]:
        if batch.keys() != inputs.keys():
            raise UserError(f"{where}: inputs are {', '.join(batch)}; the network takes {', '.join(inputs)}")
        for name, array in batch.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(f"{where}: input {name} holds NaN or infinity; remove the sample that brings it")
        values = dict(zip(watched, session.run(watched, dict(batch)), strict=True))
        given = {name: batch[name] for name in touched & inputs.keys() if inputs[name] == TensorProto.FLOAT}
        return values | given

    return run


def session_that_also_gives(model: ModelProto, tensors: Iterable[str]) -> Any:
    """An ONNX Runtime session on the CPU whose outputs include the float tensors inside the graph."""
    import onnxruntime

    augmented = ModelProto()
    augmented.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    augmented.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in outputs
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(augmented.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _histograms(method: Method, percentile: float | None) -> Any:
    """ONNX Runtime's collector, which finds thresholds by percentile or entropy; None for smallest and largest."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    if method == "minmax":
        return None
    return HistogramCollector(
        method=method,
        symmetric=False,
        num_bins=_BINS[method],
        num_quantized_bins=_ENTROPY_LEVELS,
        percentile=percentile,
        scenario="same",
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
