"""`train:NAME`: weights that are trained locally, from data that a calibration set declares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ai102 import artifact
from ai102.code_hash import inputs_of_code
from ai102.contract import Network
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.samples.read import read_samples, tensors_of_items
from ai102.weights.source import Source

if TYPE_CHECKING:
    from torch import nn


def find(name: str, network: Network, home: Path, build: Path) -> Source:
    """The trained network `name`; it is trained on first use, and its weights are stored in `build`."""
    if name != "digits":
        raise UserError(f'models.toml: source "train:{name}" is unknown; there is train:digits')
    train = read_samples(home / "calibration" / "sets", network.calibration_set or name, "train")
    made_from = {
        "data": train.sha256,
        "preparation": repr((network.inputs, network.image)),  # it is trained on what the network will be given
        **inputs_of_code(__name__),
    }
    weights = build / "weights.pt"

    def module(progress: Progress) -> nn.Module:
        import torch

        from ai102.weights import digits_resnet

        def write(file: Path) -> None:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # for images of 8x8, a second thread is slower
            pixels = tensors_of_items(network, train.items, None)[network.inputs[0].name]
            try:
                torch.save(digits_resnet.train(pixels, np.array(train.labels), progress).state_dict(), file)
            finally:
                torch.set_num_threads(threads)

        artifact.make(weights, made_from, write)
        net = digits_resnet.DigitsNet()
        net.load_state_dict(torch.load(weights, weights_only=True))
        return net.eval()

    return Source(identity=artifact.sha256_of_text(repr(sorted(made_from.items()))), module=module)
