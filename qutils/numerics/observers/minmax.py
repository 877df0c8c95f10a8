"""The whole range: nothing is clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme


@dataclass(frozen=True)
class MinMax:
    """``low = min x``, ``high = max x`` over everything observed.

    One outlier sets the scale of all the rest; without outliers nothing is simpler or safer.
    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.1 (weights).
    """

    name: ClassVar[str] = "minmax"
    color: ClassVar[str] = "#56B4E9"
    rank: ClassVar[int] = 10

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes, ``[R]`` and ``[R]``; the scheme does not matter."""
        return rows.low, rows.high


OBSERVER = MinMax()
