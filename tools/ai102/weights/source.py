"""The types that every source of weights returns; importing them imports no framework."""

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
    """Existing weights, or a recipe that produces them, either as a PyTorch module or as an ONNX file."""

    # Changes whenever the network changes: an input of the ONNX file's manifest.
    identity: str
    # The network in eval mode: takes the contract's inputs in order, returns its outputs in order.
    module: Callable[[Progress], nn.Module] | None = None
    # Writes the network as one ONNX file, for sources without an export from PyTorch.
    write_onnx: Callable[[Path], None] | None = None
    # The checkpoint's tokenizer.json, which is served with the network.
    tokenizer_file: Path | None = None


@dataclass(frozen=True)
class Wish:
    """The user's options for a new network beside its source; an empty one follows from the source."""

    name: str
    task: Task
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    labels: tuple[str, ...] = ()
    max_batch_size: int | None = None  # 0: no batch dimension; None: the source's
    allow_pickle: bool = False
    home: Path = Path()  # the folder of models.toml: file names are relative to it


# Parameters: the text after the colon, the network, the folder of models.toml, and a build folder.
Find = Callable[[str, Network, Path, Path], Source]
# Returns the keys of the network's table in models.toml that the source defines: inputs, outputs, labels, image, text,
# sha256, max_batch_size under batching. Raises UserError in one line when the source cannot be served.
Propose = Callable[[str, Wish], Mapping[str, Any]]


@dataclass(frozen=True)
class Kind:
    """One kind of source: resolves a network of models.toml, and describes a new one."""

    find: Find
    propose: Propose | None = None  # None: `ai102 add` does not support it
