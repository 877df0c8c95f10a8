"""Layers with weights: convolutions and linear layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from qutils.graph.ops.rounding import of_accumulator, with_float_bias
from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.arithmetic import conv_accumulate, linear_accumulate
from qutils.numerics.exact.values import Quantized, Unrounded


def convolve(
    x: Quantized,
    w: Quantized,
    bias: Quantized | Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Unrounded:
    """``acc = sum (qw - zw) (qx - zx) + qb``, then ``requantize``; 1, 2 or 3 axes in space.

    A float bias is added afterwards: see ``with_float_bias``.
    """
    acc = conv_accumulate(
        x.integers,
        int(x.grid.zero_point),
        w.integers,
        bias.integers if isinstance(bias, Quantized) else None,
        zero_point_w=w.grid.zero_point,
        stride=_pair(stride),
        padding=_pair(padding),
        dilation=_pair(dilation),
        groups=groups,
    )
    result = of_accumulator(acc, x, w, axis=1)
    return with_float_bias(result, bias) if isinstance(bias, Tensor) else result


def linear(x: Quantized, w: Quantized, bias: Quantized | Tensor | None = None) -> Unrounded:
    """``acc = (qx - zx) (qw - zw)^T + qb`` over the last axis, then ``requantize``.

    A float bias is added afterwards: see ``with_float_bias``.
    """
    flat = x.integers.reshape(-1, x.integers.shape[-1])
    acc = linear_accumulate(
        flat,
        int(x.grid.zero_point),
        w.integers,
        bias.integers if isinstance(bias, Quantized) else None,
        zero_point_w=w.grid.zero_point,
    )
    result = of_accumulator(acc.reshape(*x.integers.shape[:-1], -1), x, w, axis=-1)
    return with_float_bias(result, bias) if isinstance(bias, Tensor) else result


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


CONVOLUTIONS = tuple(
    OpSpec(f"conv{axes}d", "weighted", kernel=convolve, rank=10) for axes in (1, 2, 3)
)
RECORDS = (*CONVOLUTIONS, OpSpec("linear", "weighted", kernel=linear, rank=20))
