"""`torch:MODULE:CALLABLE`: a PyTorch network that a function of the user returns."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai102.contract import Network, Tensor
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.samples.examples import LENGTH, example_tensors
from ai102.weights.source import Source, Wish
from ai102.weights.tensors import table_of_tensors
from ai102_runtime.data_types import BY_NUMPY

if TYPE_CHECKING:
    from torch import nn

# PyTorch's data types by name, which are numpy's names.
TRITON_TYPES = {f"torch.{name}": kind.name for name, kind in BY_NUMPY.items() if name != "object"}


def find(rest: str, _network: Network, home: Path, _build: Path) -> Source:
    """The network that MODULE:CALLABLE returns; MODULE is imported from `home` first.

    Raises UserError when it cannot be imported or does not return a torch.nn.Module.
    """
    net = _network_of_callable(rest, home.absolute())

    def module(progress: Progress) -> nn.Module:
        progress(1, 1)
        return net

    return Source(identity=_identity(net), module=module)


def propose(rest: str, wish: Wish) -> Mapping[str, Any]:
    """The inputs of `wish`, and the outputs that the network returns for generated values.

    Raises UserError when `wish` has no inputs, or the network does not run on them.
    """
    source = f"torch:{rest}"
    if not wish.inputs:
        raise UserError(
            f"{source}: a PyTorch network does not define its inputs: write them, as --input pixels:FP32:3,224,224 "
            "(without the batch dimension, -1 where it varies)"
        )
    net = _network_of_callable(rest, wish.home.absolute())
    is_batched = wish.max_batch_size != 0
    return table_of_tensors(wish.inputs, _outputs(net, wish, source), is_batched=is_batched, source=source, wish=wish)


@lru_cache(maxsize=4)  # every build step needs it, and its weights may be large
def _network_of_callable(rest: str, home: Path) -> nn.Module:
    from torch import nn

    module_name, _, name = rest.partition(":")
    if not name:
        raise UserError(f"torch:{rest}: write torch:MODULE:CALLABLE, such as torch:my_networks:classifier")
    if str(home) not in sys.path:
        sys.path.insert(0, str(home))
    try:
        make = getattr(importlib.import_module(module_name), name)
        net = make()
    except Exception as err:  # the user's code may raise anything
        raise UserError(f"torch:{rest}: {type(err).__name__}: {' '.join(str(err).split())}") from err
    if not isinstance(net, nn.Module):
        raise UserError(f"torch:{rest}: returned a {type(net).__name__}, expected a torch.nn.Module")
    return net.eval()


def _identity(net: nn.Module) -> str:
    """A hash of the weights, the structure, and the code of the network's classes."""
    import inspect

    digest = hashlib.sha256(f"{net}\n{version('torch')}\n".encode())
    for kind in sorted(
        {type(layer) for layer in net.modules()}, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}"
    ):
        if not kind.__module__.startswith("torch."):
            digest.update(inspect.getsource(kind).encode())
    for name, tensor in net.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().view(-1).view(dtype=_bytes()).numpy().tobytes())
    return digest.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8


def _outputs(net: nn.Module, wish: Wish, source: str) -> list[Tensor]:
    """The output tensors, from runs with two lengths of the dims of -1: a size that differs is a varying dimension."""
    count = None if wish.max_batch_size == 0 else 2
    short, long = (_run(net, wish, count, length, source) for length in (LENGTH, LENGTH + 2))
    names = [tensor.name for tensor in wish.outputs] or [f"output_{index}" for index in range(len(short))]
    if len(names) != len(short):
        raise UserError(f"{source}: gives {len(short)} outputs, but {len(names)} --output were named")
    tensors = []
    for name, one, other in zip(names, short, long, strict=True):
        if count and tuple(one.shape[:1]) != (count,):
            raise UserError(
                f"{source}: {name} is {list(one.shape)} for a batch of {count}: its first dimension is not the "
                "batch's; write --max-batch-size 0 for a network that takes none"
            )
        if str(one.dtype) not in TRITON_TYPES:
            raise UserError(f"{source}: {name} is {one.dtype}, which Triton does not serve: convert it to float32")
        shapes = [tuple(t.shape)[1 if count else 0 :] for t in (one, other)]
        dims = tuple(a if a == b else -1 for a, b in zip(*shapes, strict=True))
        tensors.append(Tensor(name=name, type=TRITON_TYPES[str(one.dtype)], dims=dims))
    return tensors


def _run(net: nn.Module, wish: Wish, count: int | None, length: int, source: str) -> list[Any]:
    import torch

    if text := next((tensor for tensor in wish.inputs if tensor.type in ("BYTES", "BF16")), None):
        raise UserError(f"{source}: {text.name} is {text.type}, which cannot be passed to PyTorch")
    arrays = example_tensors(wish.inputs, count, length)
    try:
        with torch.no_grad():
            answer = net(*(torch.from_numpy(arrays[tensor.name]) for tensor in wish.inputs))
    except Exception as err:  # the user's code may raise anything
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        reason = " ".join(str(err).split())
        raise UserError(f"{source}: does not run on {shapes}: {type(err).__name__}: {reason}") from err
    answers = [answer] if isinstance(answer, torch.Tensor) else answer
    if not isinstance(answers, list | tuple) or not all(isinstance(one, torch.Tensor) for one in answers):
        raise UserError(f"{source}: returns a {type(answer).__name__}, expected a tensor or a tuple of tensors")
    return list(answers)
