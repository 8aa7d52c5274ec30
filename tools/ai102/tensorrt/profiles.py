"""The shapes that a plan is built for, from the contract: smallest, tuned for, largest."""

from __future__ import annotations

from typing import NamedTuple

from ai102.contract import Network, Tensor

Shape = tuple[int, ...]


class Profile(NamedTuple):
    """One input's shapes, the batch first; TensorRT is fastest at `opt` and refuses shapes outside the range."""

    least: Shape
    opt: Shape
    most: Shape


def profiles_of_network(network: Network) -> dict[str, Profile]:
    """By input: batches from 1 to Triton's max_batch_size, texts from the shortest length to the longest."""
    most = network.batching.max_batch_size
    batches = (1, network.tensorrt.opt_batch_size or most, most)
    lengths = network.text.lengths if network.text else (1,)
    # Most texts are short: tuned for the middle entry of the lengths, not the middle of the range.
    varying = (lengths[0], lengths[len(lengths) // 2], lengths[-1])
    return {
        tensor.name: Profile(*(_shape(tensor, *sizes) for sizes in zip(batches, varying, strict=True)))
        for tensor in network.inputs
    }


def _shape(tensor: Tensor, batch: int, varying: int) -> Shape:
    return (batch, *(varying if size == -1 else size for size in tensor.dims))
