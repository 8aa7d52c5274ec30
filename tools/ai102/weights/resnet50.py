"""`random:resnet50`: ResNet-50 with random weights, for speed measurements without real weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ai102 import artifact
from ai102.contract import Network
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.weights.source import Source

if TYPE_CHECKING:
    from torch import nn

SEED = 102


def find(name: str, network: Network, _home: Path, _build: Path) -> Source:
    """The network `name`, with the same weights every time. Raises UserError for another name."""
    if name != "resnet50":
        raise UserError(f'source "random:{name}" is unknown; there is random:resnet50')
    classes = network.outputs[0].dims[0]
    settings = (classes, network.image_size)

    def module(progress: Progress) -> nn.Module:
        net = _module(classes, network.image_size[:2])
        progress(1, 1)
        return net

    return Source(identity=artifact.sha256_of_text(repr(settings)), module=module)


def _module(classes: int, size: tuple[int, int]) -> nn.Module:
    """uint8 [batch, 3, height, width] to probabilities [batch, classes]."""
    import torch
    from torch import Tensor, nn
    from transformers import ResNetConfig, ResNetForImageClassification

    class ImageClassifier(nn.Module):
        """Scaling and softmax are part of the graph: inputs are bytes and scores are probabilities."""

        scale: Tensor
        shift: Tensor

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net
            # ImageNet's mean and deviation, as torchvision's transforms have them.
            mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
            deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
            self.register_buffer("scale", 1 / (255 * deviation))
            self.register_buffer("shift", mean / deviation)

        def forward(self, pixels: Tensor) -> Tensor:
            scaled = pixels.float() * self.scale - self.shift
            return nn.functional.softmax(self.net(scaled).logits, dim=1)

    torch.manual_seed(SEED)
    config = ResNetConfig()  # its defaults are ResNet-50
    config.num_labels = classes
    net = ImageClassifier(ResNetForImageClassification(config))
    # With untrained statistics (mean 0, deviation 1) values grow from block to block: measure them on noise once.
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        net.train()(torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8))
    return net.eval()
