"""How integer kernels compute: int32 accumulation, then requantization to the output's grid.

With ``x = sx (qx - zx)`` and ``w = sw (qw - zw)``, a layer ``y = sum w x + b`` is

    acc = sum (qw - zw) (qx - zx) + qb         int32, exact; qb has scale sx sw
    qy  = clamp(round(acc * sx sw / sy) + zy)  back to 8 bits

Everything here is exact: what it returns is what the kernel returns, integer for integer.
Source: Jacob et al. 2018, arXiv:1712.05877, section 2.2 to 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.errors import InvalidInputError

INT32 = torch.iinfo(torch.int32)
Places = int | tuple[int, ...]  # one number, or one for each axis in space


def conv_accumulate(
    x: Tensor,
    zero_point_x: int,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    zero_point_w: int | Tensor = 0,
    stride: Places = 1,
    padding: Places = 0,
    dilation: Places = 1,
    groups: int = 1,
) -> Tensor:
    """``acc = sum (w - zero_point_w) (x - zero_point_x) + bias``: int32 ``[N, O, ...]``.

    Padding adds real zeros, that is the integer ``zero_point_x``. Summed in float64, where
    integers below 2^53 are exact.

    Args:
        x: integers ``[N, C, ...]`` of one to three axes in space, ``[N, C, H, W]`` say.
        w: integers ``[O, C / groups, ...]``.
        bias: integers ``[O]`` of scale ``scale(x) * scale(w)``. zero_point_w: one, or ``[O]``.

    Raises:
        InvalidInputError: a tensor does not hold integers, or a sum does not fit int32.

    >>> x = torch.tensor([[[[3, 5], [1, 3]]]])
    >>> conv_accumulate(x, 3, torch.tensor([[[[2, 1], [1, -1]]]])).item()
    0
    """
    x, w = _centered(x, zero_point_x), _centered(w, zero_point_w)
    convolution = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    acc = convolution(x, w, None, stride, padding, dilation, groups)
    if bias is not None:
        acc = acc + _along(_centered(bias, 0), acc, 1)
    return _int32(acc)


def linear_accumulate(
    x: Tensor,
    zero_point_x: int,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    zero_point_w: int | Tensor = 0,
) -> Tensor:
    """``acc = (x - zero_point_x) (w - zero_point_w)^T + bias``: int32 ``[N, O]``, exact.

    Args:
        x: integers ``[N, I]``. w: integers ``[O, I]``. bias: integers ``[O]``.

    Raises:
        InvalidInputError: a tensor does not hold integers, or a sum does not fit int32.

    >>> linear_accumulate(torch.tensor([[130, 126]]), 128, torch.tensor([[3, -5]])).tolist()
    [[16]]
    """
    acc = _centered(x, zero_point_x) @ _centered(w, zero_point_w).T
    if bias is not None:
        acc = acc + _centered(bias, 0)
    return _int32(acc)


def matmul_accumulate(a: Tensor, zero_point_a: int, b: Tensor, zero_point_b: int) -> Tensor:
    """``acc = (a - zero_point_a) (b - zero_point_b)``: int32 ``[..., M, N]``, exact.

    Args:
        a: integers ``[..., M, K]``. b: integers ``[..., K, N]``; leading axes broadcast.

    Raises:
        InvalidInputError: a tensor does not hold integers, or a sum does not fit int32.

    >>> matmul_accumulate(torch.tensor([[130, 126]]), 128, torch.tensor([[3], [5]]), 4).tolist()
    [[-4]]
    """
    return _int32(_centered(a, zero_point_a) @ _centered(b, zero_point_b))


def bias_to_int32(bias: Tensor, scale_x: Tensor, scale_w: Tensor) -> Tensor:
    """A float bias ``[O]`` on the accumulator's grid: ``round(bias / (scale_x scale_w))``, int32.

    Args:
        scale_x: ``[]``. scale_w: ``[]`` or ``[O]``.

    Raises:
        InvalidInputError: a value does not fit int32 (the scales are too small for it).

    >>> bias_to_int32(torch.tensor([0.5, -0.3]), torch.tensor(0.25), torch.tensor(0.5)).tolist()
    [4, -2]
    """
    return _int32(torch.round(bias.float() / (scale_x.float() * scale_w.float())).double())


def multiplier(scale_x: Tensor, scale_w: Tensor, scale_y: Tensor) -> Tensor:
    """``M = scale_x scale_w / scale_y``, float32 ``[]`` or ``[O]``: output steps a unit of acc.

    The product is taken before the quotient, as ONNX Runtime does; the order decides the last bit.
    """
    return (scale_x.float() * scale_w.float()) / scale_y.float()


def requantize(
    acc: Tensor, multiplier: Tensor, zero_point: int, qmin: int, qmax: int, axis: int = 1
) -> Tensor:
    """``clamp(round_half_even(float32(acc) * M) + zero_point, qmin, qmax)``, int32 like ``acc``.

    Args:
        acc: int32. multiplier: float32, ``[]`` or ``[O]`` along ``axis``.
    Source: ONNX Runtime 1.x, ``MlasRequantizeOutput``; equal in every integer (see the tests).

    >>> acc = torch.tensor([[5, 15, -700]], dtype=torch.int32)
    >>> requantize(acc, torch.tensor(0.1), 10, 0, 255).tolist()
    [[10, 12, 0]]
    """
    scaled = torch.round(acc.float() * _along(multiplier.float(), acc, axis))
    # Clamped before the zero point is added: huge floats would absorb it.
    return scaled.clamp(qmin - zero_point, qmax - zero_point).to(torch.int32) + zero_point


@dataclass(frozen=True)
class FixedPoint:
    """``M = mantissa * 2^(shift - 31)`` with int32 ``mantissa`` in 2^30..2^31 - 1 (or M = 0)."""

    mantissa: Tensor
    shift: Tensor


def fixed_point_multiplier(multiplier: Tensor) -> FixedPoint:
    """A multiplier for processors without floats: 31 bits and a shift; same shape.

    Raises:
        InvalidInputError: a multiplier is negative, NaN, Inf, or 2^31 and more.
    Source: Jacob et al. 2018, section 2.2; TensorFlow Lite, ``QuantizeMultiplier``.

    >>> fixed = fixed_point_multiplier(torch.tensor(0.375))
    >>> fixed.mantissa.item(), fixed.shift.item()
    (1610612736, -1)
    """
    m = multiplier.double()
    if not (torch.isfinite(m).all() and (m >= 0).all() and (m < 2.0**31).all()):
        raise InvalidInputError("a multiplier must be finite, at least 0 and below 2^31")
    fraction, shift = torch.frexp(m)  # m = fraction * 2^shift, fraction in [0.5, 1)
    mantissa = torch.floor(fraction * 2.0**31 + 0.5).long()
    overflow = mantissa == 1 << 31
    mantissa, shift = torch.where(overflow, mantissa >> 1, mantissa), shift + overflow.int()
    vanished = shift < -31  # below half of the smallest step of any int32
    return FixedPoint(
        torch.where(vanished, 0, mantissa).to(torch.int32), torch.where(vanished, 0, shift).int()
    )


def requantize_fixed_point(
    acc: Tensor, fixed: FixedPoint, zero_point: int, qmin: int, qmax: int, axis: int = 1
) -> Tensor:
    """``clamp(acc * M + zero_point)`` in integers alone, rounded twice.

    ``high = round(acc * 2^max(shift, 0) * mantissa / 2^31)``, halves up; then
    ``round(high / 2^-shift)``, halves away from zero.
    Differs from ``requantize`` by one where the exact product lies near a half.
    Source: gemmlowp ``SaturatingRoundingDoublingHighMul`` and ``RoundingDivideByPOT``, as
    TensorFlow Lite's ``MultiplyByQuantizedMultiplier`` calls them.

    >>> half = fixed_point_multiplier(torch.tensor(0.5))
    >>> requantize_fixed_point(torch.tensor([[1, 3, -1]]), half, 0, -128, 127).tolist()
    [[1, 2, 0]]
    >>> requantize(torch.tensor([[1, 3, -1]]), torch.tensor(0.5), 0, -128, 127).tolist()
    [[0, 2, 0]]
    """
    mantissa = _along(fixed.mantissa.long(), acc, axis)
    shift = _along(fixed.shift.long(), acc, axis)
    wide = (acc.long() << shift.clamp(min=0)).clamp(INT32.min, INT32.max)
    product = wide * mantissa
    nudge = torch.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = torch.div(product + nudge, 1 << 31, rounding_mode="trunc").clamp(max=INT32.max)
    right = (-shift).clamp(min=0)
    mask = (torch.ones_like(right) << right) - 1
    carry = (high & mask) > (mask >> 1) + (high < 0).long()
    scaled = (high >> right) + carry.long()
    return (scaled + zero_point).clamp(qmin, qmax).to(torch.int32)


def _centered(integers: Tensor, zero_point: int | Tensor) -> Tensor:
    """``integers - zero_point`` as float64; a zero point of shape ``[O]`` goes along axis 0."""
    if integers.dtype.is_floating_point or integers.dtype == torch.bool:
        raise InvalidInputError(f"expected a tensor of integers, got {integers.dtype}")
    if isinstance(zero_point, Tensor):
        zero_point = _along(zero_point.double(), integers, 0)
    return integers.double() - zero_point


def _int32(acc: Tensor) -> Tensor:
    """Whole float64 numbers as int32; sums that overflow a kernel's accumulator are refused."""
    low, high = float(acc.min()), float(acc.max())
    if low < INT32.min or high > INT32.max:
        raise InvalidInputError(
            f"sums from {low:.0f} to {high:.0f} do not fit the int32 accumulator "
            f"({INT32.min}..{INT32.max}): use larger scales, or split the layer"
        )
    return acc.to(torch.int32)


def _along(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """``[O] -> [1, .., O, .., 1]`` with ``O`` at ``axis`` of ``like``; ``[]`` stays."""
    if values.ndim == 0:
        return values
    shape = [1] * like.ndim
    shape[axis] = -1
    return values.reshape(shape)
