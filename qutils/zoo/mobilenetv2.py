"""A small MobileNetV2 for 28x28 pictures: depthwise convolutions, inverted residuals, ReLU6."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qutils.quantize.training import Plan
from qutils.zoo.models import ModelEntry

#: One row a stage: expansion factor, output channels, number of blocks, stride of the first.
STAGES = ((1, 16, 1, 2), (4, 24, 1, 1), (4, 48, 2, 2), (4, 64, 2, 1))


def conv_bn_relu6(i: int, o: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and ReLU6: ``[N, i, H, W] -> [N, o, H/stride, W/stride]``."""
    conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(o), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation; shortcut where shapes allow.

    Shapes: ``[N, in, H, W] -> [N, out, H/stride, W/stride]``.
    Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks".
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.expand: nn.Module = nn.Identity()
        if expand != 1:
            self.expand = conv_bn_relu6(in_channels, hidden, 1)
        self.depthwise = conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """MobileNetV2 sized for two cores: see ``STAGES``.

    Shapes: ``[N, 1, 28, 28] -> [N, classes]`` logits.
    Source: Sandler et al. 2018; stage table reduced for 28x28 pictures.

    >>> MobileNetV2()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_channels: int = 1, classes: int = 10, head: int = 256) -> None:
        super().__init__()
        self.stem = conv_bn_relu6(in_channels, 16, 3)
        blocks: list[nn.Module] = []
        channels = 16
        for expand, out, repeats, first_stride in STAGES:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                blocks.append(InvertedResidual(channels, out, stride, expand))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = conv_bn_relu6(channels, head, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


MODEL = ModelEntry(
    "mobilenetv2",
    MobileNetV2,
    "fashion_mnist",
    (1, 28, 28),
    "depthwise convolutions, inverted residuals, ReLU6: the kind that breaks naive PTQ",
    Plan(epochs=14, learning_rate=0.2, label_smoothing=0.05, seed=0),
    second_plan=Plan(epochs=10, learning_rate=0.15, label_smoothing=0.05, seed=1),
    qat_bits=((8, 8), (4, 4), (3, 8), (2, 8)),
    rank=20,
)
