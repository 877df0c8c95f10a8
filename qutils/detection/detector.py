"""A YOLO network as one that maps one tensor to one tensor, with its decoding apart."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What ``keep_float`` takes: everything after the last convolutions of both branches.
DECODE = "decode"


@dataclass(frozen=True)
class Layer:
    """One layer of a YOLO network: which earlier results it reads; -1 is the one before."""

    module: nn.Module
    reads: tuple[int, ...]


class Detector(nn.Module):
    """Backbone, a box branch and a class branch for each level, and what turns them into boxes.

    ``[N, 3, H, W] -> [N, 4 + classes, A]``: centre, width and height, then a probability for each
    class, at each of ``A = sum_i (H / stride_i) (W / stride_i)`` places.

    Modules are called so that a layer's name says where it sits: ``layers.4.cv1.conv``,
    ``box.0.2``, ``cls.2.1.0.conv``, ``decode``.

    Args:
        normalized: boxes as shares of the picture instead of pixels, as LiteRT files of
            Ultralytics hand them out.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        levels: Sequence[int],
        box: Sequence[nn.Module],
        cls: Sequence[nn.Module],
        strides: Sequence[int],
        bins: int,
        size: tuple[int, int],
        normalized: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer.module) for layer in layers)
        self.reads = tuple(layer.reads for layer in layers)
        self.levels = tuple(levels)
        self.box = nn.ModuleList(copy.deepcopy(branch) for branch in box)
        self.cls = nn.ModuleList(copy.deepcopy(branch) for branch in cls)
        self.size = size
        self.decode = Decode(size, strides, bins, normalized)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for layer, reads in zip(self.layers, self.reads, strict=True):
            inputs: list[Any] = [x if at == -1 else found[at] for at in reads]
            x = layer(inputs[0] if len(inputs) == 1 else inputs)
            found.append(x)
        features = [found[level] for level in self.levels]
        boxes = [branch(f) for branch, f in zip(self.box, features, strict=True)]
        scores = [branch(f) for branch, f in zip(self.cls, features, strict=True)]
        return cast(Tensor, self.decode(boxes, scores))


class Decode(nn.Module):
    """From the branches' results to boxes and probabilities, in float.

    Distances ``d = (l, t, r, b)`` from a place's middle ``m`` to the four sides, in strides: for
    ``bins > 1`` the mean ``sum_k k softmax(z)_k`` of a distribution, else the result itself. Then
    ``centre = m + s (r - l, b - t) / 2`` and ``size = s (l + r, t + b)``.

    Shapes: boxes ``[N, 4 bins, H_i, W_i]``, scores ``[N, classes, H_i, W_i]`` for each level ->
    ``[N, 4 + classes, A]``.
    Source: Li et al. 2020, arXiv:2006.04388, equation 6 (the distribution).
    """

    middles: Tensor  # [2, A], pixels or shares
    scale: Tensor  # [2, A]: one stride, in the same unit
    half_scale: Tensor  # [2, A]: half of it
    numbers: Tensor  # [1, bins, 1, 1]

    def __init__(
        self, size: tuple[int, int], strides: Sequence[int], bins: int, normalized: bool = False
    ) -> None:
        super().__init__()
        height, width = size
        unit = torch.tensor([[width], [height]] if normalized else [[1.0], [1.0]])
        middles, scale = [], []
        for stride in strides:
            ys, xs = torch.meshgrid(
                torch.arange(height // stride), torch.arange(width // stride), indexing="ij"
            )
            places = torch.stack([xs.flatten(), ys.flatten()]) + 0.5
            middles.append(places * stride / unit)
            scale.append(torch.full_like(places, stride) / unit)
        self.register_buffer("middles", torch.cat(middles, 1).float())
        self.register_buffer("scale", torch.cat(scale, 1).float())
        self.register_buffer("half_scale", 0.5 * self.scale)
        self.register_buffer("numbers", torch.arange(bins).float().view(1, -1, 1, 1))
        self.bins = bins

    def forward(self, boxes: Sequence[Tensor], scores: Sequence[Tensor]) -> Tensor:
        sides = torch.cat([box.flatten(2) for box in boxes], 2)  # [N, 4 bins, A]
        if self.bins > 1:
            spread = torch.unflatten(sides, 1, (4, self.bins)).transpose(1, 2)  # [N, bins, 4, A]
            sides = F.conv2d(spread.softmax(1), self.numbers).squeeze(1)  # [N, 4, A]
        before, behind = sides[:, :2], sides[:, 2:]
        centre = self.middles + (behind - before) * self.half_scale
        size = (before + behind) * self.scale
        logits = torch.cat([score.flatten(2) for score in scores], 2)
        return torch.cat([centre, size, logits.sigmoid()], 1)
