"""How runtimes get from an accumulator to output integers; RULES.

All mean ``qy = clamp(round(acc sx sw / sy) + zy)``; they differ in what is rounded on the way. Two
rules disagree on a value only where ``acc sx sw / sy`` lies near a half.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qutils.numerics.exact.arithmetic import (
    fixed_point_multiplier,
    multiplier,
    requantize,
    requantize_fixed_point,
)
from qutils.numerics.exact.values import Accumulator, Grid

Rule = Callable[[Accumulator, Grid], Tensor]


def one_multiplier(a: Accumulator, grid: Grid) -> Tensor:
    """``round(float32(acc) * M)``, ``M = (sx sw) / sy`` rounded to float32: the reference."""
    m = multiplier(a.scale_x, a.scale_w, grid.scale)
    return requantize(a.integers, m, int(grid.zero_point), grid.qmin, grid.qmax, a.axis)


def two_scales(a: Accumulator, grid: Grid) -> Tensor:
    """``round(float32(acc * (sx sw)) / sy)``: the layer in float, then a quantizer."""
    return grid.quantize(_float(a))


def reciprocal(a: Accumulator, grid: Grid) -> Tensor:
    """``round(float32(acc * (sx sw)) * (1 / sy))``: the same with a product for the quotient."""
    scaled = torch.round(_float(a) * (1 / grid.scale)).double() + grid.zero_point
    return scaled.clamp(grid.qmin, grid.qmax).to(torch.int32)


def rounded_twice(a: Accumulator, grid: Grid) -> Tensor:
    """``M`` as 31 bits and a shift, two roundings: processors without floats."""
    fixed = fixed_point_multiplier(_double_multiplier(a, grid))
    return requantize_fixed_point(
        a.integers, fixed, int(grid.zero_point), grid.qmin, grid.qmax, a.axis
    )


def exact_half_up(a: Accumulator, grid: Grid) -> Tensor:
    """``floor(acc M + 1/2)`` with ``M`` of 31 bits, rounded once.

    Source: TensorFlow Lite, ``MultiplyByQuantizedMultiplier`` with ``TFLITE_SINGLE_ROUNDING``.
    """
    fixed = fixed_point_multiplier(_double_multiplier(a, grid))
    m = fixed.mantissa.double() * torch.exp2(fixed.shift.double() - 31)
    scaled = torch.floor(a.integers.double() * a.along(m) + 0.5) + grid.zero_point
    return scaled.clamp(grid.qmin, grid.qmax).to(torch.int32)


def _float(a: Accumulator) -> Tensor:
    return a.integers.float() * a.along(a.scale_x * a.scale_w)


def _double_multiplier(a: Accumulator, grid: Grid) -> Tensor:
    """``sx sw / sy`` in float64, as TensorFlow Lite computes it before it takes 31 bits."""
    return a.scale_x.double() * a.scale_w.double() / grid.scale.double()


#: By what a reader is told.
RULES: dict[str, Rule] = {
    "one float32 multiplier, halves to even": one_multiplier,
    "scaled to float32, then quantized": two_scales,
    "scaled to float32, then times 1 / scale": reciprocal,
    "31-bit multiplier, rounded twice": rounded_twice,
    "31-bit multiplier, rounded once, halves up": exact_half_up,
}
