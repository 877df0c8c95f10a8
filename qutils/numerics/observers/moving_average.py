"""The running range: single batches' outliers fade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme


@dataclass(frozen=True)
class MovingAverage:
    """``low <- 0.9 low + 0.1 min(batch)``, high likewise; depends on the order of the batches.

    For weights, which come in one batch, it is minmax.
    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.1 (activations); PyTorch's
    ``MovingAverageMinMaxObserver`` with ``averaging_constant=0.1``.
    """

    name: ClassVar[str] = "moving_average"
    color: ClassVar[str] = "#CC79A7"
    rank: ClassVar[int] = 20

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The running extremes, ``[R]`` and ``[R]``; the scheme does not matter."""
        return rows.running_low, rows.running_high


OBSERVER = MovingAverage()
