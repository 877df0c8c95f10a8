"""The arithmetic of affine quantization: range -> scale and zero point, quantize, dequantize.

Everything here is a pure function of tensors. One channel axis is handled by reshaping the scale
so that it broadcasts; see ``expand``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Scheme

#: Smallest scale: a constant zero tensor or a dead channel divides by this instead of by zero.
#: Far below any signal, yet the product of two (the scale of a bias) is a normal float32.
MIN_SCALE = 2.0**-60


@dataclass(frozen=True)
class QParams:
    """What a quantizer needs at run time.

    ``scale`` float32 and ``zero_point`` int32 have shape ``[]`` per tensor, ``[C]`` per channel
    (``axis`` says which) and ``[C, G]`` per group of ``group_size`` values along the flattened
    remaining axes.
    """

    scale: Tensor
    zero_point: Tensor
    qmin: int
    qmax: int
    axis: int | None = None
    group_size: int | None = None


def qparams(low: Tensor, high: Tensor, scheme: Scheme, axis: int | None = None) -> QParams:
    """Scale and zero point of a range.

    Affine: ``scale = (high - low) / (qmax - qmin)``, ``zero_point = round(qmin - low / scale)``.
    Symmetric: ``scale = max(|low|, |high|) / (qmax - zero_point)``, zero point in the middle.
    The range is first widened to contain zero, so that zero (padding, ReLU) is exact.

    Args:
        low, high: ``[]``, ``[C]`` or ``[C, G]``, the range to represent.

    Raises:
        InvalidInputError: NaN or Inf in the range, or low above high.
    Source: Jacob et al. 2018, arXiv:1712.05877, equation 1; Nagel et al. 2021.

    >>> q = qparams(torch.tensor(-1.0), torch.tensor(1.55), Scheme(signed=False, symmetric=False))
    >>> round(q.scale.item(), 6), q.zero_point.item()
    (0.01, 100)
    """
    if not (torch.isfinite(low).all() and torch.isfinite(high).all()):
        raise InvalidInputError("the range holds NaN or Inf: look for them in the data or weights")
    if (low > high).any():
        raise InvalidInputError("the range is empty: low lies above high")
    low = low.float().clamp(max=0.0)
    high = high.float().clamp(min=0.0)
    if scheme.symmetric:
        middle = 0 if scheme.signed else 1 << (scheme.bits - 1)
        scale = (torch.maximum(-low, high) / (scheme.qmax - middle)).clamp(min=MIN_SCALE)
        zero_point = torch.full_like(scale, middle)
    else:
        levels = scheme.qmax - scheme.qmin
        scale = (high / levels - low / levels).clamp(min=MIN_SCALE)
        zero_point = torch.round(scheme.qmin - low / scale).clamp(scheme.qmin, scheme.qmax)
    return QParams(
        scale, zero_point.to(torch.int32), scheme.qmin, scheme.qmax, axis, scheme.group_size
    )


def to_rows(x: Tensor, axis: int | None, group_size: int | None) -> Tensor:
    """View ``x`` so that each row shares one scale.

    per tensor: ``[1, N]``; per channel: ``[C, N / C]``; per group: ``[C * G, group_size]``.

    Raises:
        InvalidInputError: the group size does not divide the values of a channel.
    """
    if axis is None:
        return x.reshape(1, -1)
    rows = x.movedim(axis, 0).reshape(x.shape[axis], -1)
    if group_size is None:
        return rows
    if rows.shape[1] % group_size:
        raise InvalidInputError(
            f"group_size {group_size} does not divide the {rows.shape[1]} values of a channel of "
            f"shape {tuple(x.shape)}: choose a divisor"
        )
    return rows.reshape(-1, group_size)


def expand(parameter: Tensor, x: Tensor, axis: int | None, group_size: int | None) -> Tensor:
    """Shape a scale or zero point so that it broadcasts against ``x``.

    ``[] -> []``; ``[C] -> [1, .., C, .., 1]``; ``[C, G] -> x.shape``.
    """
    if axis is None:
        return parameter
    if group_size is None:
        shape = [1] * x.ndim
        shape[axis] = -1
        return parameter.reshape(shape)
    front = x.movedim(axis, 0)
    return parameter.repeat_interleave(group_size, dim=1).reshape(front.shape).movedim(0, axis)


def quantize(x: Tensor, q: QParams) -> Tensor:
    """Real values to integers: ``clamp(round_half_even(x / scale) + zero_point, qmin, qmax)``.

    Returns int32 of the shape of ``x``. Infinities come out as qmin and qmax; NaN, which no integer
    stands for, as the integer of zero: calibration refuses it long before.
    Source: ONNX QuantizeLinear; Jacob et al. 2018, equation 1.

    >>> q = QParams(torch.tensor(0.5), torch.tensor(0), -127, 127)
    >>> quantize(torch.tensor([0.25, 0.75, -100.0]), q).tolist()
    [0, 2, -127]
    """
    scale = expand(q.scale, x, q.axis, q.group_size)
    zero_point = expand(q.zero_point, x, q.axis, q.group_size)
    rounded = torch.round(x / scale).nan_to_num_(0.0, torch.inf, -torch.inf)
    return (rounded + zero_point).clamp_(q.qmin, q.qmax).to(torch.int32)


def dequantize(integers: Tensor, q: QParams) -> Tensor:
    """Integers to real values: ``(integers - zero_point) * scale``, float32, same shape."""
    scale = expand(q.scale, integers, q.axis, q.group_size)
    zero_point = expand(q.zero_point, integers, q.axis, q.group_size)
    return (integers - zero_point).to(torch.float32) * scale


def fake_quantize(x: Tensor, q: QParams) -> Tensor:
    """Quantize and come back: ``dequantize(quantize(x))``; the error stays, the type is float.

    NaN stays NaN, as in ``ste.fake_quantize_ste``; infinities end where the range ends.

    >>> q = QParams(torch.tensor(0.1), torch.tensor(0), 0, 15)
    >>> fake_quantize(torch.tensor([-1.0, 0.26, 9.0]), q)
    tensor([0.0000, 0.3000, 1.5000])
    """
    scale = expand(q.scale, x, q.axis, q.group_size)
    zero_point = expand(q.zero_point, x, q.axis, q.group_size)
    integers = (torch.round(x / scale) + zero_point).clamp_(q.qmin, q.qmax)  # as floats: NaN stays
    return (integers - zero_point).to(torch.float32) * scale
