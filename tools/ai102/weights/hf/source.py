"""`hf:ID`: a checkpoint in Hugging Face's format, from a local folder, an installed package, or the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai102 import artifact
from ai102.contract import TEXT_TASKS, Network
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.weights.hf.checkpoint import opened
from ai102.weights.source import Source, Wish

if TYPE_CHECKING:
    from torch import nn


def find(name: str, network: Network, home: Path, _build: Path) -> Source:
    """The checkpoint `name`: a folder, or the id of one on the hub.

    Raises UserError when there is no such checkpoint, when it is not complete or not safe to open, or when the
    weights are not those that models.toml pins.
    """
    checkpoint = opened(name, home, network.task, allow_pickle=network.allow_pickle)
    checkpoint.require_files(network.task)
    sha256 = artifact.sha256_of_file(checkpoint.weights)
    if network.sha256 not in (None, sha256):
        raise UserError(
            f"hf:{name}: {checkpoint.weights.name} has sha256 {sha256}, but models.toml pins {network.sha256}; "
            "the weights changed: pin the new ones if you trust them"
        )

    def module(_progress: Progress) -> nn.Module:
        if network.task == "image-classification":
            from ai102.weights.hf import images

            return images.module(checkpoint, takes_bytes=network.inputs[0].type == "UINT8")
        from ai102.weights.hf import texts

        return texts.module(checkpoint, network.task)

    tokenizer_file = checkpoint.folder / "tokenizer.json" if network.task in TEXT_TASKS else None
    return Source(checkpoint.identity(network.task, sha256), module, tokenizer_file=tokenizer_file)


def propose(name: str, wish: Wish) -> Mapping[str, Any]:
    """Tensors, labels, image or text options and the weights' sha256, all from the checkpoint.

    Raises UserError, in one line, when it is not complete, not safe to open, not for the task, or prepares its
    images or texts in a way that would not be served as transformers does it.
    """
    checkpoint = opened(name, wish.home, wish.task, allow_pickle=wish.allow_pickle)
    if wish.inputs or wish.outputs:
        raise UserError(f"hf:{name}: the checkpoint defines its inputs and outputs: leave --input and --output out")
    if wish.task == "image-classification":
        from ai102.weights.hf import images

        table = images.described(checkpoint, wish.labels)
    else:
        from ai102.weights.hf import texts

        table = texts.described(checkpoint, wish.task, wish.labels)
    return {**table, "sha256": artifact.sha256_of_file(checkpoint.weights)}
