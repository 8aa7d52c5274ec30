"""Image classifiers of a checkpoint, with the part of their image processor that runs in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ai102.errors import UserError
from ai102.weights.hf.checkpoint import Checkpoint
from ai102.weights.hf.load import Activation, activate, activation_of, errors_in_one_line, labels_of, loaded
from ai102.weights.hf.preparation import Preparation, check_pixels, preparation_of, processor_of


class Prepared(nn.Module):
    """uint8 [batch, 3, height, width] to normalised values as in training."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preparation: Preparation, *, takes_bytes: bool = True) -> None:
        """Without `takes_bytes` inputs pass unchanged: float32, normalised by the contract's mean and std."""
        super().__init__()
        self.crop, self.takes_bytes = preparation.crop, takes_bytes
        self.register_buffer("scale", torch.tensor(preparation.scale).view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(preparation.shift).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        if self.crop:
            top, left = ((size - cut) // 2 for size, cut in zip(pixels.shape[2:], self.crop, strict=True))
            pixels = pixels[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        return pixels.float() * self.scale - self.shift if self.takes_bytes else pixels


class ImageClassifier(nn.Module):
    """uint8 [batch, 3, height, width] to scores [batch, labels]."""

    def __init__(self, prepared: Prepared, net: nn.Module, activation: Activation) -> None:
        super().__init__()
        self.prepared, self.net, self.activation = prepared, net, activation

    def forward(self, pixels: Tensor) -> Tensor:
        return activate(self.net(self.prepared(pixels)).logits, self.activation)


def module(checkpoint: Checkpoint, *, takes_bytes: bool) -> ImageClassifier:
    """The network with its image processor's arithmetic. Raises UserError where `described` does."""
    net = loaded(checkpoint, "image-classification")
    preparation = preparation_of(checkpoint, processor_of(checkpoint), net.config)
    prepared = Prepared(preparation, takes_bytes=takes_bytes)
    return ImageClassifier(prepared, net, activation_of(net.config)).eval()


def described(checkpoint: Checkpoint, labels: Sequence[str]) -> Mapping[str, Any]:
    """inputs, outputs, labels and image of the network's table in models.toml.

    Raises UserError when the checkpoint is not for images, or prepares them in a way that cannot be served.
    """
    net = loaded(checkpoint, "image-classification")
    checkpoint.require_files("image-classification")
    names = labels_of(checkpoint, net.config, labels)
    processor = processor_of(checkpoint)
    preparation = preparation_of(checkpoint, processor, net.config)
    prepared = Prepared(preparation)
    check_pixels(checkpoint, processor, preparation, prepared)
    classifier = ImageClassifier(prepared, net, activation_of(net.config)).eval()
    with torch.no_grad(), errors_in_one_line(checkpoint, "cannot run it on what its image processor makes"):
        scores = classifier(torch.zeros(1, 3, preparation.height, preparation.width, dtype=torch.uint8))
    if tuple(scores.shape) != (1, len(names)):
        raise UserError(f"{checkpoint.source}: gives scores {list(scores.shape)} for one image and {len(names)} labels")
    edge = {"shortest_edge": preparation.shortest_edge} if preparation.shortest_edge else {}
    dims = [3, preparation.height, preparation.width]
    return {
        "inputs": [{"name": "pixels", "type": "UINT8", "dims": dims, "layout": "NCHW"}],
        "outputs": [{"name": "scores", "type": "FP32", "dims": [len(names)]}],
        "labels": names,
        "image": {**edge, "resample": preparation.resample},
    }
