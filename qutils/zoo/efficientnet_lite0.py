"""EfficientNet-Lite0 for 224x224 photographs: inverted residuals, ReLU6, no squeeze-and-excite."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

#: One row a stage: expansion factor, output channels, blocks, stride of the first, kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
SIZE = 224
#: Added to the variance by every BatchNorm, as the published weights were trained.
EPSILON = 1e-3


def conv_bn(i: int, o: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution with TensorFlow's "same" padding, and BatchNorm.

    Shapes: ``[N, i, H, W] -> [N, o, H/stride, W/stride]`` for even H and W. TensorFlow pads
    ``kernel - stride`` in all, the odd one after: with stride 2 that is ``(0, 1)`` for a kernel of
    3 and ``(1, 2)`` for one of 5, which ``nn.Conv2d`` cannot say by itself.
    """
    padding = kernel - stride if stride > 1 else 0
    before = padding // 2
    pad = nn.ZeroPad2d((before, padding - before) * 2)
    conv = nn.Conv2d(i, o, kernel, stride, 0 if padding else kernel // 2, groups=groups, bias=False)
    return [*([pad] if padding else []), conv, nn.BatchNorm2d(o, eps=EPSILON)]


class MBConv(nn.Module):
    """Expand 1x1, depthwise kxk, project 1x1 without activation; shortcut where shapes allow.

    Shapes: ``[N, in, H, W] -> [N, out, H/stride, W/stride]``.
    Source: Tan and Le 2019, arXiv:1905.11946, there with squeeze-and-excite and swish.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expand: int, kernel: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.expand: nn.Module = nn.Identity()
        if expand != 1:
            self.expand = nn.Sequential(*conv_bn(in_channels, hidden, 1), nn.ReLU6())
        depthwise = conv_bn(hidden, hidden, kernel, stride, groups=hidden)
        self.depthwise = nn.Sequential(*depthwise, nn.ReLU6())
        self.project = nn.Sequential(*conv_bn(hidden, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, 4.65 M parameters; see ``STAGES``.

    Shapes: ``[N, 3, 224, 224] -> [N, classes]`` logits. Other sizes run if 32 divides them.
    Source: Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite" (TensorFlow blog);
    Tan and Le 2019, arXiv:1905.11946.

    >>> EfficientNetLite0()(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 1000])
    """

    def __init__(self, classes: int = 1000, stem: int = 32, head: int = 1280) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, stem, 3, 2), nn.ReLU6())
        blocks: list[nn.Module] = []
        channels = stem
        for expand, out, repeats, first_stride, kernel in STAGES:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                blocks.append(MBConv(channels, out, stride, expand, kernel))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*conv_bn(channels, head, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


#: Published names of a convolution and of the BatchNorm after it, and our name of the two.
_PUBLISHED = (
    ("_conv_stem", "_bn0", "stem"),
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
    ("_conv_head", "_bn1", "head"),
)


def from_published(state: Mapping[str, Tensor], model: EfficientNetLite0) -> dict[str, Tensor]:
    """The published state dict under the names of ``model``; names without a match are kept.

    ``_blocks.3._expand_conv.weight`` is ours ``blocks.3.expand.0.weight``, and ``_fc.bias`` is
    ``classifier.bias``.
    """
    names = {"_fc": "classifier"}
    for name, module in model.named_modules():
        found = re.fullmatch(r"(?:blocks\.(\d+)\.)?(\w+)\.\d", name)
        if found is None or not isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            continue
        block, ours = found.groups()
        conv, norm, _ = next(row for row in _PUBLISHED if row[2] == ours)
        theirs = conv if isinstance(module, nn.Conv2d) else norm
        names[f"_blocks.{block}.{theirs}" if block else theirs] = name
    renamed = {}
    for key, tensor in state.items():
        module_name, _, leaf = key.rpartition(".")
        renamed[f"{names.get(module_name, module_name)}.{leaf}"] = tensor
    return renamed
