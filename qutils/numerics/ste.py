"""Fake quantization with straight-through gradients for the tensor, its scale and its zero point.

Rounding has derivative zero almost everywhere; the straight-through estimator takes it for one.
Everything else is the chain rule on

    y = scale * (clamp(round(x / scale) + zero_point, qmin, qmax) - zero_point)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _FakeQuantize(torch.autograd.Function):
    """See ``fake_quantize_ste``; ``low`` is ``qmin - zero_point``, ``high`` likewise."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int
    ) -> Tensor:
        low, high = qmin - zero_point, qmax - zero_point
        # In place after the first operation: one new tensor the size of x.
        if scale.ndim == 0:
            y = torch.div(x, scale).round_().clamp_(float(low), float(high)).mul_(scale)
        else:
            y = torch.minimum(torch.maximum((x / scale).round_(), low), high).mul_(scale)
        ctx.save_for_backward(x, y, scale, low, high)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, low, high = ctx.saved_tensors
        if scale.ndim == 0:
            # One pass: the gradient where low * scale < x < high * scale, zero elsewhere.
            passed = torch.ops.aten.hardtanh_backward(
                grad, x, float(low * scale), float(high * scale)
            )
        else:
            inside = (x > low * scale) & (x < high * scale)
            passed = grad * inside
        need_scale, need_zero_point = ctx.needs_input_grad[1:3]
        # d y / d scale = (y - x) / scale inside, y / scale outside.
        d_scale = None
        if need_scale:
            d_scale = (_inner(grad, y, scale) - _inner(passed, x, scale)) / scale
        # d y / d zero_point = -scale outside, 0 inside.
        d_zero_point = _sum(passed - grad, scale) * scale if need_zero_point else None
        return passed, d_scale, d_zero_point, None, None


def _inner(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Sum of ``a * b`` over all axes that ``like`` broadcasts along."""
    if like.ndim == 0 and a.stride() == b.stride() and _dense(a):
        flat = (a.numel(),), (1,)  # the order of the sum is free: take that of the memory
        return torch.dot(a.as_strided(*flat), b.as_strided(*flat))
    return _sum(a * b, like)


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))


def _sum(values: Tensor, like: Tensor) -> Tensor:
    """Sum over all axes that ``like`` broadcasts along: ``x.shape -> like.shape``."""
    return values.sum() if like.ndim == 0 else values.sum_to_size(like.shape)


def fake_quantize_ste(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    """Fake-quantize with gradients: the forward of ``affine.fake_quantize``.

    With ``u = x / scale + zero_point``:

    - ``dy/dx = 1`` where ``qmin < u < qmax``, else 0;
    - ``dy/dscale = round(x / scale) - x / scale`` inside, ``qmin - zero_point`` below,
      ``qmax - zero_point`` above;
    - ``dy/dzero_point = 0`` inside, ``-scale`` outside.

    Args:
        x: any shape. scale, zero_point: ``[]`` or a shape that broadcasts against ``x``;
            the zero point is a float holding an integer.
    Source: Esser et al. 2020 (LSQ), arXiv:1902.08153; Bhalgat et al. 2020 (LSQ+).

    >>> x = torch.tensor([0.26, 9.0], requires_grad=True)
    >>> y = fake_quantize_ste(x, torch.tensor(0.1), torch.tensor(0.0), 0, 15)
    >>> y.sum().backward()
    >>> x.grad
    tensor([1., 0.])
    """
    result: Tensor = _FakeQuantize.apply(x, scale, zero_point, qmin, qmax)  # type: ignore[no-untyped-call]
    return result


def round_ste(x: Tensor) -> Tensor:
    """Round half to even; gradient one."""
    return x + (x.round() - x).detach()
