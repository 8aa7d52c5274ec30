"""The requests that warm a model up: one real sample of each input, at each padded length, as Triton reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102 import artifact
from ai102.configs.serving_config import warm_lengths, warmup_file
from ai102.contract import Network
from ai102.samples.examples import TEXTS, example_tensors
from ai102.samples.read import tensors_of_items

FOLDER = "warmup"


def write(model_folder: Path, network: Network, items: Sequence[bytes], tokenizer_file: Path | None) -> None:
    """The files that the model's config.pbtxt names, in its folder `warmup`; none where the contract asks for none.

    `items` are samples as callers send them; where there are none, values are made up.
    """
    if network.warmup is None:
        return
    for length in warm_lengths(network):
        arrays = sample_of_length(network, items, tokenizer_file, length)
        for tensor in network.inputs:
            data = bytes_from_array(arrays[tensor.name])
            file = model_folder / FOLDER / warmup_file(tensor, length)
            artifact.make(file, {"data": artifact.sha256_of_text(data.hex())}, _writer(data))


def _writer(data: bytes) -> artifact.Write:
    def write_bytes(file: Path) -> None:
        file.write_bytes(data)

    return write_bytes


def sample_of_length(
    network: Network, items: Sequence[bytes], tokenizer_file: Path | None, length: int
) -> Mapping[str, NDArray[Any]]:
    """One sample, without the batch dimension, real where there are `items`; texts fill `length` tokens."""
    if network.text:
        long_text = b" ".join(items) if items else " ".join(TEXTS * length).encode()
        cut = network.text.model_copy(update={"lengths": (length,)})
        batch = tensors_of_items(
            network.model_copy(update={"text": cut}), [_long_enough(long_text, length)], tokenizer_file
        )
    elif items:
        batch = tensors_of_items(network, items[:1], tokenizer_file)
    else:
        batch = example_tensors(network.inputs, 1, length)
    return {name: array[0] for name, array in batch.items()}


def _long_enough(text: bytes, length: int) -> bytes:
    """The beginning of `text` that fills `length` tokens: a word is at least one of them."""
    return b" ".join(text.split()[:length])


def bytes_from_array(array: NDArray[Any]) -> bytes:
    """The array as Triton reads it: little-endian, and each string behind its length in four bytes."""
    if array.dtype != np.object_:
        return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    words = [value if isinstance(value, bytes) else str(value).encode() for value in array.reshape(-1)]
    return b"".join(len(word).to_bytes(4, "little") + word for word in words)
