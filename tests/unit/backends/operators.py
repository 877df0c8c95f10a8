"""Operators whose border, choice of values or divisor backends disagree about: one line each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
INF = float("inf")
#: Of one sample ``[C, ...]`` by the number of axes in space.
SHAPES = {1: (3, 13), 2: (3, 9, 10), 3: (6, 5, 6)}

_average1, _average2, _average3 = (
    partial(partial, pool) for pool in (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
)
_max1, _max2, _max3 = (
    partial(partial, pool) for pool in (F.max_pool1d, F.max_pool2d, F.max_pool3d)
)
_pad, _resize = partial(partial, F.pad), partial(partial, F.interpolate)


def _filters(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))) / 2


def _then(first: Function, second: Function) -> Function:
    return lambda x: second(first(x))


#: name -> (axes in space, operator of ``[N, C, ...]``).
OPERATORS: dict[str, tuple[int, Function]] = {
    "average 1d, ceil": (1, _average1(kernel_size=2, ceil_mode=True)),
    "average 1d, ceil, padded": (1, _average1(kernel_size=4, stride=3, padding=2, ceil_mode=True)),
    "average 1d, without padding": (
        1,
        _average1(kernel_size=3, stride=2, padding=1, count_include_pad=False),
    ),
    "average, padded": (2, _average2(kernel_size=3, stride=2, padding=1)),
    "average, ceil": (2, _average2(kernel_size=2, ceil_mode=True)),
    "average, ceil, stride 3": (2, _average2(kernel_size=2, stride=3, ceil_mode=True)),
    "average, ceil, padded": (2, _average2(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
    "average, without padding": (
        2,
        _average2(kernel_size=3, stride=1, padding=1, count_include_pad=False),
    ),
    "average, ceil, without padding": (
        2,
        _average2(kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    ),
    "average, unequal": (
        2,
        _average2(kernel_size=(3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True),
    ),
    "average, divisor": (2, _average2(kernel_size=2, divisor_override=3)),
    "average, divisor, ceil, padded": (
        2,
        _average2(kernel_size=3, stride=2, padding=1, ceil_mode=True, divisor_override=5),
    ),
    "average 3d": (3, _average3(kernel_size=2, stride=1)),
    "average 3d, ceil, without padding": (
        3,
        _average3(kernel_size=2, padding=1, ceil_mode=True, count_include_pad=False),
    ),
    "adaptive average 1d, even": (1, partial(F.adaptive_avg_pool1d, output_size=13)),
    "adaptive average 1d": (1, partial(F.adaptive_avg_pool1d, output_size=4)),
    "adaptive average, one run": (2, partial(F.adaptive_avg_pool2d, output_size=(4, 5))),
    "adaptive average, some parts": (2, partial(F.adaptive_avg_pool2d, output_size=(2, 3))),
    "adaptive average, uneven": (2, partial(F.adaptive_avg_pool2d, output_size=(5, 7))),
    "adaptive average, larger": (2, partial(F.adaptive_avg_pool2d, output_size=(12, 10))),
    "adaptive average 3d": (3, partial(F.adaptive_avg_pool3d, output_size=(2, 3, 4))),
    "adaptive average 3d, global": (3, partial(F.adaptive_avg_pool3d, output_size=1)),
    "area": (2, _resize(size=(4, 4), mode="area")),
    "max 1d, ceil, dilated": (1, _max1(kernel_size=3, stride=2, dilation=2, ceil_mode=True)),
    "max, ceil": (2, _max2(kernel_size=2, ceil_mode=True)),
    "max, ceil, padded": (2, _max2(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
    "max, dilated, padded": (2, _max2(kernel_size=3, stride=1, padding=1, dilation=2)),
    "max, SAME": (2, _then(_pad(pad=(0, 1, 0, 1), value=-INF), _max2(kernel_size=3, stride=2))),
    "max, SAME, ceil, relu": (
        2,
        _then(
            _then(F.relu, _pad(pad=(1, 2, 0, 1), value=-1.0)),
            _max2(kernel_size=3, stride=2, ceil_mode=True),
        ),
    ),
    "max, padded with -1e9": (2, _then(_pad(pad=(1, 1), value=-1e9), _max2(kernel_size=3))),
    "max, padded with 0.3": (2, _then(_pad(pad=(1, 0, 2, 1), value=0.3), _max2(kernel_size=3))),
    "adaptive max": (2, partial(F.adaptive_max_pool2d, output_size=(4, 7))),
    "adaptive max 1d": (1, partial(F.adaptive_max_pool1d, output_size=5)),
    "nearest 1d, 1.7": (1, _resize(scale_factor=1.7)),
    "nearest, 2": (2, _resize(scale_factor=2)),
    "nearest, 2 by 3": (2, _resize(scale_factor=(2.0, 3.0))),
    "nearest, 1 by 2": (2, _resize(scale_factor=(1.0, 2.0))),
    "nearest, 1.7": (2, _resize(scale_factor=1.7)),
    "nearest, 1.7, recomputed": (2, _resize(scale_factor=1.7, recompute_scale_factor=True)),
    "nearest, 0.7": (2, _resize(scale_factor=0.7)),
    "nearest, 0.5": (2, _resize(scale_factor=0.5)),
    "nearest to 7x23": (2, _resize(size=(7, 23))),
    "nearest, exact, 1.7": (2, _resize(scale_factor=1.7, mode="nearest-exact")),
    "nearest, exact, 2": (2, _resize(scale_factor=2, mode="nearest-exact")),
    "nearest 3d, 1.7": (3, _resize(scale_factor=1.7)),
    "nearest 3d, 2": (3, _resize(scale_factor=2)),
    "reflection": (2, _pad(pad=(1, 2, 3, 1), mode="reflect")),
    "replication": (2, _pad(pad=(1, 2, 3, 1), mode="replicate")),
    "circular": (2, _pad(pad=(1, 2, 3, 1), mode="circular")),
    "reflection 1d": (1, _pad(pad=(1, 2), mode="reflect")),
    "replication 1d": (1, _pad(pad=(1, 2), mode="replicate")),
    "padded with 0.7": (2, _pad(pad=(1, 2, 0, 1), value=0.7)),
    "padded with -2, and cut": (2, _pad(pad=(-1, 2, 3, 1), value=-2.0)),
    "transposed 1d": (1, partial(F.conv_transpose1d, weight=_filters(3, 3, 4), stride=2)),
    "transposed, 2": (2, partial(F.conv_transpose2d, weight=_filters(3, 3, 2, 2), stride=2)),
    "transposed, 2, overlapping": (
        2,
        partial(F.conv_transpose2d, weight=_filters(3, 3, 4, 4), stride=2, padding=1),
    ),
    "transposed, odd, cut": (
        2,
        partial(
            F.conv_transpose2d,
            weight=_filters(3, 3, 3, 2),
            stride=(2, 1),
            padding=1,
            output_padding=(1, 0),
        ),
    ),
    # these compute in float, between integers
    "bilinear, 2": (2, _resize(scale_factor=2, mode="bilinear")),
    "bilinear, 1.7": (2, _resize(scale_factor=1.7, mode="bilinear")),
    "bilinear, 1.7, recomputed": (
        2,
        _resize(scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
    ),
    "bilinear, corners, 2": (2, _resize(scale_factor=2, mode="bilinear", align_corners=True)),
    "bilinear, corners, 1.7": (2, _resize(scale_factor=1.7, mode="bilinear", align_corners=True)),
    "bilinear to 5x17": (2, _resize(size=(5, 17), mode="bilinear")),
    "bilinear, corners, to 5x17": (2, _resize(size=(5, 17), mode="bilinear", align_corners=True)),
    "linear 1d, 1.7": (1, _resize(scale_factor=1.7, mode="linear")),
    "bicubic, 2": (2, _resize(scale_factor=2, mode="bicubic")),
    "bicubic, corners, 1.7": (2, _resize(scale_factor=1.7, mode="bicubic", align_corners=True)),
    "trilinear, 2": (3, _resize(scale_factor=2, mode="trilinear")),
}

#: One of each form that a backend is given, where a file takes long to make.
FEW = frozenset(
    {
        *("average 1d, ceil, padded", "adaptive average 1d", "max 1d, ceil, dilated"),
        *("average, ceil, padded", "average, without padding", "adaptive average, uneven"),
        *("average, divisor", "max, SAME", "max, padded with 0.3", "nearest, 1.7", "nearest, 2"),
        *("replication", "circular", "bilinear, corners, 1.7", "average 3d", "nearest 3d, 1.7"),
    }
)


class SideBySide(nn.Module):
    """A layer, and operators of so many axes on its result; their outputs in one row."""

    def __init__(self, axes: int, names: Collection[str] = OPERATORS.keys()) -> None:
        super().__init__()
        self.shape = SHAPES[axes]
        self.layer = (nn.Conv1d if axes == 1 else nn.Conv2d)(self.shape[0], self.shape[0], 1)
        self.operators = {
            name: f for name, (n, f) in OPERATORS.items() if n == axes and name in names
        }

    def results(self, y: Tensor) -> list[Tensor]:
        """What each operator makes of the layer's result."""
        if self.shape == SHAPES[3]:  # two channels of three planes
            y = y.reshape(-1, 2, 3, *y.shape[2:])
        return [f(y).flatten(1) for f in self.operators.values()]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.results(self.layer(x)), 1)

    def parts(self, row: Tensor) -> dict[str, Tensor]:
        """The row of results, by operator."""
        sizes = [result.shape[1] for result in self.results(torch.zeros(1, *self.shape))]
        return dict(zip(self.operators, row.split(sizes, dim=1), strict=True))
