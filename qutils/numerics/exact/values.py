"""Values inside the integer reference: integers with their grid, and results before rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.numerics.affine import expand

#: From an output grid to integers: ``Requantize(grid) -> int32``.
Requantize = Callable[["Grid"], Tensor]


@dataclass(frozen=True)
class Grid:
    """What integers mean: ``x = scale (q - zero_point)``, ``qmin <= q <= qmax``.

    ``scale`` is float32, ``[]`` or ``[C]`` along ``axis``; ``zero_point`` integer of that shape.
    """

    scale: Tensor
    zero_point: Tensor
    qmin: int
    qmax: int
    axis: int | None = None

    def quantize(self, x: Tensor) -> Tensor:
        """``clamp(round_half_even(x / scale) + zero_point, qmin, qmax)``, int32.

        Source: ONNX ``QuantizeLinear``. PyTorch's own operator multiplies by ``1 / scale``.
        """
        q = torch.round(x / self._along(self.scale, x)).double() + self._along(self.zero_point, x)
        return q.clamp(self.qmin, self.qmax).to(torch.int32)

    def dequantize(self, integers: Tensor) -> Tensor:
        """``(q - zero_point) scale``, float32."""
        centered = integers - self._along(self.zero_point, integers)
        return centered.float() * self._along(self.scale, integers)

    def _along(self, values: Tensor, like: Tensor) -> Tensor:
        return values if self.axis is None else expand(values, like, self.axis, None)


@dataclass(frozen=True)
class Quantized:
    """Integers ``[...]`` (int32, whatever width a kernel stores) on their grid."""

    integers: Tensor
    grid: Grid

    def value(self) -> Tensor:
        """The real numbers that the integers stand for, float32."""
        return self.grid.dequantize(self.integers)


@dataclass(frozen=True)
class Unrounded:
    """The result of a kernel before it is put on the output's grid.

    ``requantize(grid)`` is how an integer kernel gets there; ``value()`` what it hands out where
    the output stays in float.
    """

    requantize: Requantize
    value: Callable[[], Tensor]


@dataclass(frozen=True)
class Accumulator(Unrounded):
    """The result of a layer with weights: ``integers [...]`` int32 of scale ``scale_x scale_w``.

    ``scale_x`` is ``[]``, ``scale_w`` ``[]`` or ``[O]`` along ``axis``.
    """

    integers: Tensor
    scale_x: Tensor
    scale_w: Tensor
    axis: int

    def along(self, values: Tensor) -> Tensor:
        """``[]`` or ``[O]``, shaped to go with the integers."""
        if values.ndim == 0:
            return values
        shape = [1] * self.integers.ndim
        shape[self.axis] = -1
        return values.reshape(shape)
