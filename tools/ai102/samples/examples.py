"""Generated inputs for a network without samples: for comparing two forms of it, never for calibration or accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.contract import Network, Tensor
from ai102.samples.read import tensors_of_items
from ai102_runtime.data_types import BY_NAME

TEXTS = (
    "The train to the coast leaves at nine.",
    "Never again: slow, rude and twice the price.",
    "Ada Lovelace wrote to Charles Babbage from London in 1843.",
    "ok",
)
# The size of dimensions that vary.
LENGTH = 5


def examples_for(network: Network, tokenizer_file: Path | None, count: int) -> dict[str, NDArray[Any]]:
    """The network's inputs for `count` samples, or for one if it has no batch dimension."""
    if network.text:
        texts = [TEXTS[position % len(TEXTS)].encode() for position in range(count)]
        return tensors_of_items(network, texts, tokenizer_file)
    return example_tensors(network.inputs, count if network.batching.max_batch_size else None)


def example_tensors(tensors: Sequence[Tensor], count: int | None, length: int = LENGTH) -> dict[str, NDArray[Any]]:
    """Values for each tensor [count, ...], without that dimension if `count` is None; the same at every call.

    `length` replaces every dimension that varies. Integers are 0 or 1, since they may be indices into a table of
    any size.
    """
    random = np.random.default_rng(102)
    batch = () if count is None else (count,)
    shape = {t.name: (*batch, *(length if size == -1 else size for size in t.dims)) for t in tensors}
    return {tensor.name: _example(tensor, shape[tensor.name], random) for tensor in tensors}


def _example(tensor: Tensor, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[Any]:
    if tensor.layout and tensor.type == "UINT8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    if tensor.type == "BYTES":
        return random.integers(0, 2, shape).astype(str).astype(np.object_)
    if tensor.type in ("FP16", "FP32", "FP64"):
        return random.standard_normal(shape).astype(BY_NAME[tensor.type].numpy_name)
    return random.integers(0, 2, shape).astype(BY_NAME[tensor.type].numpy_name)
