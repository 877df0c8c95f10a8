"""How far to reach: rounding against clipping error as the range of one tensor shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.error import ErrorSplit, error_split_of_rows
from qutils.numerics import affine
from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme


@dataclass(frozen=True)
class ClippingSweep:
    """The errors of one tensor under K ranges, each a ``fraction`` of the full one.

    Arrays are float64 ``[K]``; mean squared errors are in squared units of the tensor.
    """

    fractions: tuple[float, ...]
    splits: tuple[ErrorSplit, ...]

    @property
    def rounding(self) -> NDArray[np.float64]:
        """Mean squared error of the values inside each range."""
        return np.array([split.rounding for split in self.splits])

    @property
    def clipping(self) -> NDArray[np.float64]:
        """Mean squared error of the values outside each range."""
        return np.array([split.clipping for split in self.splits])

    @property
    def sqnr_db(self) -> NDArray[np.float64]:
        """``10 log10(signal / total)`` in dB; inf where nothing is lost."""
        return np.array([split.sqnr_db for split in self.splits])

    @property
    def best(self) -> float:
        """The fraction with the least error."""
        return self.fractions[int(np.argmin([split.total for split in self.splits]))]


def clipping_sweep(rows: Rows, scheme: Scheme, fractions: Sequence[float]) -> ClippingSweep:
    """Quantize the one row of ``rows`` in ``fraction * (low, high)`` for each fraction.

    ``error = sum_i counts_i (fake_quantize(v_i) - v_i)^2 / sum_i counts_i``, split as
    ``error_split`` does.

    Raises:
        InvalidInputError: more than one row, no fraction, or one outside (0, 1].
    Source: Nagel et al. 2021, arXiv:2106.08295, section 2.2.

    >>> import torch
    >>> from qutils.numerics.observers import rows_of
    >>> rows = rows_of(torch.linspace(-1, 1, 101))
    >>> sweep = clipping_sweep(rows, Scheme(4, signed=True, symmetric=True), [0.5, 1.0])
    >>> [round(x, 1) for x in sweep.sqnr_db.tolist()]
    [8.9, 23.0]
    """
    if rows.values.shape[0] != 1:
        raise InvalidInputError(f"a sweep takes one row (per_tensor), got {rows.values.shape[0]}")
    if not fractions or not all(0 < f <= 1 for f in fractions):
        raise InvalidInputError(f"fractions of a range lie in (0, 1], got {list(fractions)}")
    splits = [
        error_split_of_rows(rows, affine.qparams(f * rows.low, f * rows.high, scheme))
        for f in fractions
    ]
    return ClippingSweep(tuple(fractions), tuple(splits))
