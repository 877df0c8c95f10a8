"""ResNet-8, the image-classification reference of MLPerf Tiny, for one-channel 28x28 pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qutils.quantize.training import Plan
from qutils.zoo.models import ModelEntry


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``y = relu(f(x) + shortcut(x))``.

    Shapes: ``[N, in, H, W] -> [N, out, H/stride, W/stride]``.
    Source: He et al. 2016, as sized by MLPerf Tiny (Banbury et al. 2021).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu2(y + self.shortcut(x))
        return out


class ResNet8(nn.Module):
    """Three residual stages of 16, 32 and 64 channels, 78 k parameters.

    Shapes: ``[N, 1, 28, 28] -> [N, classes]`` logits.
    Source: MLPerf Tiny image-classification reference (Banbury et al. 2021).

    >>> ResNet8()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.stage1 = ResidualBlock(16, 16, 1)
        self.stage2 = ResidualBlock(16, 32, 2)
        self.stage3 = ResidualBlock(32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


MODEL = ModelEntry(
    "resnet8",
    ResNet8,
    "fashion_mnist",
    (1, 28, 28),
    "the image-classification reference of MLPerf Tiny: plain convolutions, quantizes well",
    Plan(epochs=24, learning_rate=0.2, label_smoothing=0.05, seed=0),
    qat_bits=((8, 8), (4, 4), (3, 8), (2, 8)),
    rank=10,
)
