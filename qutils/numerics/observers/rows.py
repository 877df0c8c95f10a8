"""What every observer reads: values with counts, one row for each scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.numerics import affine


@dataclass(frozen=True)
class Rows:
    """Weighted values, ``R`` rows of ``B``; each row gets one scale.

    ``values`` float32 and ``counts`` float64 are ``[R, B]``; ``low``, ``high`` (exact extremes) and
    ``running_low``, ``running_high`` (moving averages of the batches' extremes) are float32
    ``[R]``. ``shape`` is the shape of the scale: ``()`` per tensor, ``(C,)`` per channel,
    ``(C, G)`` per group; its product is ``R``.
    """

    values: Tensor
    counts: Tensor
    low: Tensor
    high: Tensor
    running_low: Tensor
    running_high: Tensor
    shape: tuple[int, ...]

    def part(self, start: int, stop: int) -> Rows:
        """The rows ``start .. stop-1``, as a list of scales."""
        cut = slice(start, stop)
        return Rows(
            self.values[cut],
            self.counts[cut],
            self.low[cut],
            self.high[cut],
            self.running_low[cut],
            self.running_high[cut],
            shape=(len(self.values[cut]),),
        )

    @property
    def low_or_zero(self) -> Tensor:
        """``min(low, 0)`` ``[R]``: where a range that contains zero starts."""
        return self.low.clamp(max=0.0)

    @property
    def high_or_zero(self) -> Tensor:
        """``max(high, 0)`` ``[R]``: where a range that contains zero ends."""
        return self.high.clamp(min=0.0)


def rows_of(
    weight: Tensor, axis: int | None = None, group_size: int | None = None, name: str = "weight"
) -> Rows:
    """The exact values of a tensor at hand, each counted once.

    Args:
        weight: ``[...]``; ``axis`` None gives one row, else one per channel (or group of one).

    Raises:
        InvalidInputError: empty, NaN or Inf (``name`` says where), or a group size that does not
            divide.

    >>> rows = rows_of(torch.tensor([[1.0, -2.0], [0.0, 3.0]]), axis=0)
    >>> rows.low.tolist(), rows.high.tolist(), rows.shape
    ([-2.0, 0.0], [1.0, 3.0], (2,))
    """
    if weight.numel() == 0:
        raise InvalidInputError(f"{name} of shape {tuple(weight.shape)} holds no values")
    values = affine.to_rows(weight.detach().float(), axis, group_size)
    low, high = values.aminmax(dim=1)
    if not (torch.isfinite(low).all() and torch.isfinite(high).all()):
        raise InvalidInputError(f"{name} holds NaN or Inf: repair or retrain it before quantizing")
    counts = torch.ones(1, 1, dtype=torch.float64, device=values.device).expand_as(values)
    shape: tuple[int, ...] = () if axis is None else (weight.shape[axis],)
    if axis is not None and group_size is not None:
        shape = (weight.shape[axis], values.shape[0] // weight.shape[axis])
    return Rows(values, counts, low, high, low, high, shape)
