"""Results before rounding: of an accumulator, or of a float value."""

from __future__ import annotations

from torch import Tensor

from qutils.numerics.exact.arithmetic import multiplier, requantize
from qutils.numerics.exact.values import Accumulator, Grid, Quantized, Unrounded


def of_accumulator(acc: Tensor, x: Quantized, w: Quantized, axis: int) -> Accumulator:
    """An int32 accumulator of scale ``sx sw``; the output scale is ``[]``."""
    sx, sw = x.grid.scale, w.grid.scale

    def rounded(grid: Grid) -> Tensor:
        m = multiplier(sx, sw, grid.scale)
        return requantize(acc, m, int(grid.zero_point), grid.qmin, grid.qmax, axis)

    def value() -> Tensor:
        scale = sx * sw
        return acc.float() * (scale if scale.ndim == 0 else _last(scale, acc, axis))

    return Accumulator(rounded, value, acc, sx, sw, axis)


def _last(scale: Tensor, acc: Tensor, axis: int) -> Tensor:
    shape = [1] * acc.ndim
    shape[axis] = -1
    return scale.reshape(shape)


def with_float_bias(a: Accumulator, bias: Tensor) -> Unrounded:
    """``qy = round((float32(acc) (sx sw) + b) / sy) + zy``, ``b`` float ``[O]``.

    Source: the kernels that TensorRT for RTX 1.7 writes into its engines (``MulAddReluMul...``);
    they multiply by ``1 / sy``, and their compiler may join ``a b + c``: near a tie they may differ
    by one. No GPU has confirmed it here.
    """
    return of_value(a.value() + a.along(bias))


def of_value(value: Tensor) -> Unrounded:
    """Return a float value as a result that is rounded to whatever grid it gets."""
    return Unrounded(lambda grid: grid.quantize(value), lambda: value)
