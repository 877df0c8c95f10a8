"""One small convolution, every integer of it: what a kernel computes, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.integer import bias_to_int32, conv_accumulate, multiplier, requantize
from qutils.numerics import affine
from qutils.numerics.affine import QParams
from qutils.numerics.schemes import Scheme


@dataclass(frozen=True)
class Window:
    """How one output comes about: ``acc = products.sum() + correction + bias``.

    ``x`` and ``products = w x`` are integers ``[k, k]``; ``correction = -zero_point_x sum(w)``
    takes out what the zero point added to every product.
    """

    x: Tensor
    products: Tensor
    correction: int
    bias: int
    acc: int
    scaled: float  # float32(acc) * multiplier
    y: int

    @property
    def sum(self) -> int:
        """``sum(w x)``, the zero point still in it."""
        return int(self.products.sum())


@dataclass(frozen=True)
class ConvByHand:
    """A convolution of one channel in integers; padding keeps the size of the input.

    ``x [H, W]``, ``w [k, k]``, ``acc`` and ``y [H, W]`` are int32, ``bias`` an int; ``qx``, ``qw``
    and ``qy`` say which real numbers they stand for. ``exact [H, W]`` is the float convolution.
    """

    x: Tensor
    w: Tensor
    bias: int
    acc: Tensor
    y: Tensor
    qx: QParams
    qw: QParams
    qy: QParams
    exact: Tensor

    @property
    def padding(self) -> int:
        """Pixels added on each side."""
        return len(self.w) // 2

    @property
    def multiplier(self) -> Tensor:
        """``M = scale_x scale_w / scale_y``, float32 ``[]``."""
        return multiplier(self.qx.scale, self.qw.scale, self.qy.scale)

    @property
    def padded(self) -> Tensor:
        """``x`` with its border, ``[H + 2 p, W + 2 p]``: there a real 0 is ``zero_point``."""
        return F.pad(self.x, [self.padding] * 4, value=int(self.qx.zero_point))

    @property
    def dequantized(self) -> Tensor:
        """What the output stands for, float32 ``[H, W]``."""
        return affine.dequantize(self.y, self.qy)

    @property
    def saturated(self) -> Tensor:
        """Where the output was clamped to the ends of its grid, bool ``[H, W]``."""
        unclamped = torch.round(self.acc.float() * self.multiplier) + self.qy.zero_point
        return (unclamped < self.qy.qmin) | (unclamped > self.qy.qmax)

    def window(self, row: int, column: int) -> Window:
        """The arithmetic behind the output at ``row``, ``column``.

        Raises:
            InvalidInputError: the output has no such place.
        """
        height, width = self.acc.shape
        if not (0 <= row < height and 0 <= column < width):
            raise InvalidInputError(
                f"the output has rows 0..{height - 1} and columns 0..{width - 1}, "
                f"not ({row}, {column})"
            )
        k = len(self.w)
        x = self.padded[row : row + k, column : column + k]
        acc = self.acc[row, column]
        return Window(
            x=x,
            products=self.w * x,
            correction=-int(self.qx.zero_point) * int(self.w.sum()),
            bias=self.bias,
            acc=int(acc),
            scaled=float(acc.float() * self.multiplier),
            y=int(self.y[row, column]),
        )


def conv_by_hand(
    x: Tensor,
    w: Tensor,
    bias: float,
    activations: Scheme,
    weights: Scheme,
    output: tuple[float, float] | None = None,
) -> ConvByHand:
    """Quantize and convolve: ``y = conv(x, w) + bias`` in integers, stride 1, size kept.

    Ranges of ``x`` and ``w`` are their extremes (minmax); ``output`` is that of ``y``, by default
    its extremes in float.

    Args:
        x: ``[H, W]`` floats. w: ``[k, k]`` floats, k odd.
        activations: of ``x`` and ``y``, per tensor. weights: symmetric, per tensor.

    Raises:
        InvalidInputError: shapes other than these, or weights that are not symmetric and signed.
    Source: Jacob et al. 2018, arXiv:1712.05877, equation 7.
    """
    if x.ndim != 2 or w.ndim != 2 or w.shape[0] != w.shape[1] or len(w) % 2 == 0:
        raise InvalidInputError(
            f"give an input [H, W] and a filter [k, k], k odd: got {list(x.shape)}, {list(w.shape)}"
        )
    if not (weights.symmetric and weights.signed):
        raise InvalidInputError("weights are symmetric and signed here: their zero point is 0")
    padding = len(w) // 2
    exact = F.conv2d(x[None, None], w[None, None], torch.tensor([bias]), padding=padding)[0, 0]
    low, high = (exact.min(), exact.max()) if output is None else map(torch.tensor, output)
    qx = affine.qparams(x.min(), x.max(), activations)
    qw = affine.qparams(w.min(), w.max(), weights)
    qy = affine.qparams(low, high, activations)
    ix, iw = affine.quantize(x, qx), affine.quantize(w, qw)
    ib = bias_to_int32(torch.tensor([bias]), qx.scale, qw.scale)
    acc = conv_accumulate(ix[None, None], int(qx.zero_point), iw[None, None], ib, padding=padding)[
        0, 0
    ]
    m = multiplier(qx.scale, qw.scale, qy.scale)
    y = requantize(acc, m, int(qy.zero_point), qy.qmin, qy.qmax)
    return ConvByHand(ix, iw, int(ib), acc, y, qx, qw, qy, exact)
