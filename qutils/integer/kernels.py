"""What integer kernels compute, operator by operator; KERNELS.

The order of float operations decides the last bit. It is ONNX Runtime's on x86 (MLAS): every
formula here is equal to its kernels in every integer (see the tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.errors import UnsupportedError
from qutils.integer.arithmetic import (
    conv_accumulate,
    linear_accumulate,
    matmul_accumulate,
    multiplier,
    requantize,
)
from qutils.integer.values import Accumulator, Grid, Quantized, Unrounded

Kernel = Callable[..., Quantized | Unrounded]


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

    A float bias is added behind: see ``_with_float_bias``.
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
    return _with_float_bias(result, bias) if isinstance(bias, Tensor) else result


def linear(x: Quantized, w: Quantized, bias: Quantized | Tensor | None = None) -> Unrounded:
    """``acc = (qx - zx) (qw - zw)^T + qb`` over the last axis, then ``requantize``.

    A float bias is added behind: see ``_with_float_bias``.
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
    return _with_float_bias(result, bias) if isinstance(bias, Tensor) else result


def matmul(a: Quantized, b: Quantized) -> Unrounded:
    """``acc = (qa - za) (qb - zb)`` over the last axis of ``a``, then ``requantize``.

    Shapes: ``[..., M, K]`` and ``[..., K, N]``, whose leading axes broadcast, give ``[..., M, N]``.
    Source: ONNX ``QLinearMatMul``.
    """
    acc = matmul_accumulate(a.integers, int(a.grid.zero_point), b.integers, int(b.grid.zero_point))
    return of_accumulator(acc, a, b, axis=-1)


def _with_float_bias(a: Accumulator, bias: Tensor) -> Unrounded:
    """``qy = round((float32(acc) (sx sw) + b) / sy) + zy``, ``b`` float ``[O]``.

    Source: the kernels that TensorRT for RTX 1.7 writes into its engines (``MulAddReluMul...``);
    they multiply by ``1 / sy``, and their compiler may join ``a b + c``: near a tie they may differ
    by one. No GPU has confirmed it here.
    """
    return _of_value(a.value() + a.along(bias))


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


def add(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = round(fma(qa, ra, fma(qb, rb, c)))``, ``ra = sa / sy``, ``rb = sb / sy``.

    ``c = zy - fma(ra, za, rb zb)``: both zero points leave the loop. The textbook's
    ``round((sa (qa - za) + sb (qb - zb)) / sy) + zy`` differs by one here and there.
    Source: ONNX Runtime, ``MlasQLinearAddKernel`` (AVX2).
    """

    def rounded(grid: Grid) -> Tensor:
        ra, rb = a.grid.scale / grid.scale, b.grid.scale / grid.scale
        za, zb, zy = (g.zero_point.float() for g in (a.grid, b.grid, grid))
        c = zy - _fma(ra, za, rb * zb)
        y = _fma(a.integers.float(), ra, _fma(b.integers.float(), rb, c))
        return torch.round(y).clamp(grid.qmin, grid.qmax).to(torch.int32)

    return Unrounded(rounded, lambda: a.value() + b.value())


def taken_in(a: Quantized | Unrounded, b: Quantized | Unrounded) -> Unrounded:
    """``qy = round((a + b) / sy) + zy`` where a layer adds in float before it rounds.

    Source: oneDNN, ``post_ops.append_sum``; OpenVINO fuses convolution and sum.
    """
    return _of_value(a.value() + b.value())


def multiply(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = round((qa - za) (qb - zb) (sa sb / sy) + zy)``: the zero point before rounding.

    Source: ONNX Runtime, ``MlasQLinearMulKernel``.
    """
    product = (a.integers - a.grid.zero_point) * (b.integers - b.grid.zero_point)

    def rounded(grid: Grid) -> Tensor:
        ratio = a.grid.scale * b.grid.scale / grid.scale
        y = product.float() * ratio + grid.zero_point.float()
        return torch.round(y).clamp(grid.qmin, grid.qmax).to(torch.int32)

    return Unrounded(rounded, lambda: a.value() * b.value())


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
    return _of_value(mean.float() * x.grid.scale)


def tabled(function: Callable[..., Tensor], x: Quantized, *rest: Any) -> Unrounded:
    """``qy = table[qx]``, of 256 entries ``round(function(sx (qx - zx)) / sy) + zy``."""
    return _of_value(function(x.value(), *rest))


def _of_value(value: Tensor) -> Unrounded:
    return Unrounded(lambda grid: grid.quantize(value), lambda: value)


def concatenate(parts: Sequence[Quantized], axis: int = 0) -> Quantized | Unrounded:
    """Each part by its own table: ``qy = round(sx (qx - zx) / sy) + zy``.

    Parts of one grid are only moved.
    """
    if all(_same(part.grid, parts[0].grid) for part in parts):
        return Quantized(torch.cat([part.integers for part in parts], axis), parts[0].grid)

    def rounded(grid: Grid) -> Tensor:
        on_grid = [p.integers if _same(p.grid, grid) else grid.quantize(p.value()) for p in parts]
        return torch.cat(on_grid, axis)

    return Unrounded(rounded, lambda: torch.cat([part.value() for part in parts], axis))


def _same(one: Grid, other: Grid) -> bool:
    alike = torch.equal(one.scale, other.scale) and torch.equal(one.zero_point, other.zero_point)
    return alike and (one.qmin, one.qmax) == (other.qmin, other.qmax)


def _fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``a b + c`` rounded once to float32; exact in float64 while ``a`` is an 8-bit integer."""
    return (a.double() * b.double() + c.double()).float()


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


#: The layers whose third argument is a bias, int32 or float.
BIASED = ("conv1d", "conv2d", "conv3d", "linear")

KERNELS: dict[str, Kernel] = {
    "conv1d": convolve,
    "conv2d": convolve,
    "conv3d": convolve,
    "linear": linear,
    "matmul": matmul,
    "bmm": matmul,
    "mm": matmul,
    "add": add,
    "mul": multiply,
    "adaptive_avg_pool2d": global_average,
    "avg_pool1d": partial(average, F.avg_pool1d),
    "avg_pool2d": partial(average, F.avg_pool2d),
    "avg_pool3d": partial(average, F.avg_pool3d),
    "cat": concatenate,
    "sigmoid": partial(tabled, torch.sigmoid),
    "leaky_relu": partial(tabled, F.leaky_relu),
}
