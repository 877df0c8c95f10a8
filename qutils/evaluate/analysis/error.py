"""Where a quantization error comes from: rounding inside the range, clipping outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.sqnr import decibels
from qutils.numerics.affine import QParams, expand
from qutils.numerics.observers.rows import Rows


@dataclass(frozen=True)
class ErrorSplit:
    """Mean squared error of a quantized tensor in two parts [units of the tensor, squared].

    A value is clipped if the integer it rounds to lies outside ``qmin..qmax``; its whole error is
    then ``clipping``. The errors of all other values are ``rounding``: at most half a step each.
    """

    signal: float  # mean x^2
    rounding: float
    clipping: float
    clipped_share: float  # of all values, 0..1

    @property
    def total(self) -> float:
        """``rounding + clipping``: the mean squared error, exactly."""
        return self.rounding + self.clipping

    @property
    def sqnr_db(self) -> float:
        """``10 log10(signal / total)`` [dB]; inf without error."""
        return decibels(self.signal, self.total)


def error_split(x: Tensor, q: QParams) -> ErrorSplit:
    """The error of ``affine.fake_quantize(x, q)``, any shape, split.

    Raises:
        InvalidInputError: no values, NaN or Inf.

    >>> q = QParams(torch.tensor(1.0), torch.tensor(0), 0, 3)
    >>> split = error_split(torch.tensor([0.5, 1.0, 2.0, 5.0]), q)
    >>> split.rounding, split.clipping, split.clipped_share
    (0.0625, 1.0, 0.25)
    """
    if x.numel() == 0 or not torch.isfinite(x).all():
        raise InvalidInputError("the error of a tensor without values, or with NaN or Inf, is none")
    x = x.detach().float()
    scale = expand(q.scale, x, q.axis, q.group_size)
    zero_point = expand(q.zero_point, x, q.axis, q.group_size)
    return _split(x, scale, zero_point, q, None)


def error_split_of_rows(rows: Rows, q: QParams) -> ErrorSplit:
    """The same from weighted rows: of a kept histogram, without its data.

    A histogram knows its values to the width of a bin, 1/2048 to 1/1024 of the largest magnitude;
    at 8 bits the error so found is that of the data to about 0.3 dB, at fewer bits closer.

    Args:
        q: one scale for each row: ``[]``, ``[C]`` or ``[C, G]`` as ``rows.shape``.

    Raises:
        InvalidInputError: ``q`` has another number of scales than there are rows.
    """
    if q.scale.numel() != len(rows.values):
        raise InvalidInputError(
            f"{q.scale.numel()} scales do not fit {len(rows.values)} rows: cut both alike"
        )
    scale, zero_point = q.scale.reshape(-1, 1), q.zero_point.reshape(-1, 1)
    return _split(rows.values, scale, zero_point, q, rows.counts)


def sqnr_of_rows(rows: Rows, q: QParams) -> float:
    """SQNR [dB] of weighted rows; see ``error_split_of_rows``."""
    return error_split_of_rows(rows, q).sqnr_db


@torch.no_grad()
def _split(
    x: Tensor, scale: Tensor, zero_point: Tensor, q: QParams, counts: Tensor | None
) -> ErrorSplit:
    """Shapes: ``scale`` and ``zero_point`` broadcast against ``x``; ``counts`` is like ``x``."""
    integers = torch.round(x / scale)  # without the zero point, which belongs to the bounds
    low, high = q.qmin - zero_point, q.qmax - zero_point
    clipped = (integers < low) | (integers > high)
    squared = (torch.clamp(integers, low, high) * scale - x).double().square()
    signal = x.double().square()
    if counts is not None:
        squared, signal = squared * counts, signal * counts
    total = float(counts.sum()) if counts is not None else x.numel()
    outside = float(squared[clipped].sum())
    share = float(counts[clipped].sum()) if counts is not None else int(clipped.sum())
    return ErrorSplit(
        signal=float(signal.sum()) / total,
        rounding=float(squared[~clipped].sum()) / total,
        clipping=outside / total,
        clipped_share=share / total,
    )
