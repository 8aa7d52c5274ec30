"""Exports a PyTorch network to ONNX and compares both on real inputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from ai102.contract import Network
from ai102.errors import UserError
from ai102.weights.graph import NAME_SCOPES

if TYPE_CHECKING:
    from torch import nn

OPSET = 18
MAX_ABS_DIFFERENCE = 1e-4


def onnx_from_torch(
    module: nn.Module, network: Network, samples: Mapping[str, NDArray[np.generic]], file: Path
) -> float:
    """Write `module` as ONNX; the batch and every -1 of the contract are dynamic, names are the contract's.

    `samples` are real inputs [batch, ...] by input name, at least two of them, or one [...] where there is no batch
    dimension. Returns the largest absolute difference between PyTorch's and ONNX Runtime's outputs on them; raises
    UserError above MAX_ABS_DIFFERENCE.
    """
    import torch

    example = tuple(torch.from_numpy(samples[tensor.name]) for tensor in network.inputs)
    # One symbol per varying dimension: -1 in several inputs of one network is the same length.
    length = torch.export.Dim("length", min=2, max=4096)
    batch = {0: torch.export.Dim("batch", min=1, max=4096)} if network.batching.max_batch_size else {}
    shapes = []
    for tensor in network.inputs:
        varying = {axis + len(batch): length for axis, size in enumerate(tensor.dims) if size == -1}
        shapes.append({**batch, **varying})
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=[tensor.name for tensor in network.inputs],
            output_names=[tensor.name for tensor in network.outputs],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _drop_source_metadata(model)
    onnx.save(model, file)
    return parity(module, network, samples, file)


def _drop_source_metadata(model: onnx.ModelProto) -> None:
    """Drop the exporter's metadata about source code and paths: the same weights give the same bytes."""
    graph = model.graph
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del value.metadata_props[:]
    del graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        kept = [entry for entry in node.metadata_props if entry.key == NAME_SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)


def parity(module: nn.Module, network: Network, samples: Mapping[str, NDArray[np.generic]], file: Path) -> float:
    """The largest absolute difference between `module` and the ONNX file on `samples`.

    Raises UserError above MAX_ABS_DIFFERENCE, or when shapes differ.
    """
    import onnxruntime
    import torch

    # One sample fewer than at export: detects a batch size that is fixed in the graph.
    has_batch = network.batching.max_batch_size > 0
    fewer = {name: array[:-1] if has_batch else array for name, array in samples.items()}
    with torch.no_grad():
        answer = module(*(torch.from_numpy(fewer[tensor.name]) for tensor in network.inputs))
    expected = [answer] if isinstance(answer, torch.Tensor) else list(answer)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    exported = session.run([tensor.name for tensor in network.outputs], fewer)
    worst = 0.0
    for tensor, theirs, ours in zip(network.outputs, expected, exported, strict=True):
        if ours.shape != tuple(theirs.shape):
            raise UserError(f"export: {tensor.name} is {ours.shape} in ONNX but {tuple(theirs.shape)} in PyTorch")
        difference = np.abs(ours.astype(np.float64) - theirs.numpy().astype(np.float64))
        worst = max(worst, float(difference.max(initial=0.0)))
    if not worst <= MAX_ABS_DIFFERENCE:
        raise UserError(
            f"export: ONNX differs from PyTorch by {worst:.2e}, the limit is {MAX_ABS_DIFFERENCE:.0e}: "
            "tracing misses part of the network; look for Python branches on tensor values"
        )
    return worst
