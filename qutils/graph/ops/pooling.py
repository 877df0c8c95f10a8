"""Pooling: means of windows, and the greatest values in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from qutils.errors import UnsupportedError
from qutils.graph.nodes import argument
from qutils.graph.ops.rounding import of_value
from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.values import Grid, Quantized, Unrounded


def global_average(x: Quantized, size: Any) -> Unrounded:
    """``qy = round(sum (qx - zx) (sx / (sy n))) + zy`` over the ``n`` places of ``[N, C, ...]``.

    Source: ONNX Runtime, ``MlasQLinearGlobalAveragePoolNchw``.
    """
    if any(length not in (1, None) for length in size):
        raise UnsupportedError(f"no integer kernel pools to {list(size)}: pool to 1 x 1")
    centered = x.integers - x.grid.zero_point
    axes = tuple(range(centered.ndim - len(size), centered.ndim))
    total = centered.double().sum(axes, keepdim=True)
    n = math.prod(centered.shape[axis] for axis in axes)

    def rounded(grid: Grid) -> Tensor:
        ratio = x.grid.scale / (grid.scale * n)
        y = torch.round(total.float() * ratio) + grid.zero_point
        return y.clamp(grid.qmin, grid.qmax).to(torch.int32)

    return Unrounded(rounded, lambda: (total / n).float() * x.grid.scale)


def average(pool: Callable[..., Tensor], x: Quantized, kernel: Any, *rest: Any) -> Unrounded:
    """``qy = round(mean(qx - zx) sx / sy) + zy`` over each window."""
    stride, *others = rest or (None,)
    mean = pool((x.integers - x.grid.zero_point).double(), kernel, stride or kernel, *others)
    return of_value(mean.float() * x.grid.scale)


def _is_global(node: Node) -> bool:
    return set(argument(node, 1)) == {1}


def _divides_by_window(node: Node) -> bool:
    """Return True if there is no other divisor: kernels divide by the size of the window."""
    return argument(node, 6) is None


_AVERAGES = {"avg_pool1d": F.avg_pool1d, "avg_pool2d": F.avg_pool2d, "avg_pool3d": F.avg_pool3d}
RECORDS = (
    OpSpec("adaptive_avg_pool2d", "requantized", _is_global, global_average, rank=50),
    *(
        OpSpec(name, "requantized", _divides_by_window, partial(average, pool), rank=51)
        for name, pool in _AVERAGES.items()
    ),
    *(OpSpec(f"max_pool{axes}d", "pass_through", rank=52) for axes in (1, 2, 3)),
)
