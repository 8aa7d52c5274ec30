"""The small ResNet behind `train:digits`, and how it is trained."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  PyTorch's own name for it

from ai102.progress import Progress

EPOCHS = 30
BATCH = 64


class Block(nn.Module):
    """Two 3x3 convolutions around a skip connection (He et al. 2015)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.skip = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.skip(x))


class DigitsNet(nn.Module):
    """uint8 [batch, 1, 8, 8] to probabilities [batch, 10]; the graph normalises, so requests carry uint8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor) -> Tensor:
        return F.softmax(self.logits(pixels.float() / 255), dim=1)


def train(pixels: NDArray[np.uint8], labels: NDArray[np.int64], progress: Progress) -> DigitsNet:
    """Train on uint8 pixels [images, 1, 8, 8] and labels [images]; `progress(done, total)` counts epochs.

    Each image is rotated, scaled and shifted randomly in every epoch. The result is the running average of the
    weights over the last quarter of the epochs.
    """
    torch.manual_seed(102)
    net = DigitsNet()
    images = torch.from_numpy(pixels).float() / 255
    targets = torch.from_numpy(labels)
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    net.train()
    for epoch in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = F.cross_entropy(net.logits(_jittered(images[chosen])), targets[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if epoch >= EPOCHS * 3 // 4:
                average.update_parameters(net)
        progress(epoch + 1, EPOCHS)
    averaged = cast(DigitsNet, average.module)
    _measure_batch_statistics(averaged, images)
    return averaged.eval()


def _measure_batch_statistics(net: DigitsNet, images: Tensor) -> None:
    """Averaged weights need their own batch statistics: the mean over all batches."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    net.train()
    with torch.no_grad():
        for batch in images.split(BATCH):
            net.logits(batch)


def _jittered(images: Tensor) -> Tensor:
    """The images, rotated by up to 12 degrees, scaled by up to 12 %, shifted by up to one of their eight pixels."""
    count = len(images)
    angle = (torch.rand(count) - 0.5) * 2 * np.deg2rad(12)
    scale = 1 + (torch.rand(count) - 0.5) * 0.24
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = (torch.rand(count, 2) - 0.5) * 0.5
    affine = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1).view(count, 2, 3)
    return F.grid_sample(images, F.affine_grid(affine, list(images.shape), align_corners=False), align_corners=False)
