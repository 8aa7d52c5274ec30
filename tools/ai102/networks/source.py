"""What every source of weights gives, before the framework is even imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ai102.progress import Progress

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Source:
    """Weights that were found, or a recipe to make them."""

    # Changes whenever the network that `module` returns would change: part of what the ONNX file is made from.
    identity: str
    # The network in eval mode: takes the contract's inputs in order, gives its outputs in order.
    module: Callable[[Progress], nn.Module]
    # The checkpoint's tokenizer.json, which is served beside the network that reads its tokens.
    tokenizer_file: Path | None = None
