"""What every source of weights gives, before the framework is even imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai102.contract import Network, Task, Tensor
from ai102.progress import Progress

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Source:
    """Weights that were found, or a recipe to make them; as a PyTorch module or as an ONNX file, one of the two."""

    # Changes whenever the network would change: part of what the ONNX file is made from.
    identity: str
    # The network in eval mode: takes the contract's inputs in order, gives its outputs in order.
    module: Callable[[Progress], nn.Module] | None = None
    # Writes the network as one ONNX file, for sources that need no export from PyTorch.
    write_onnx: Callable[[Path], None] | None = None
    # The checkpoint's tokenizer.json, which is served beside the network that reads its tokens.
    tokenizer_file: Path | None = None


@dataclass(frozen=True)
class Wish:
    """What a person says about a new network beside its source; empty where the source shall say it."""

    name: str
    task: Task
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    labels: tuple[str, ...] = ()
    max_batch_size: int | None = None  # 0: without a batch dimension; None: as large as the source says
    allow_pickle: bool = False
    home: Path = Path()  # the folder of models.toml: files are named from there


# What follows the colon, the network, the folder of models.toml, and one to make things in.
Find = Callable[[str, Network, Path, Path], Source]
# The keys of the network's table in models.toml that the source knows: inputs, outputs, labels, image, text,
# sha256, max_batch_size under batching. Raises UserError in one line when the source cannot be served.
Propose = Callable[[str, Wish], Mapping[str, Any]]


@dataclass(frozen=True)
class Kind:
    """One kind of source: how a network of models.toml is found, and how a new one is described."""

    find: Find
    propose: Propose | None = None  # None: only written by hand
