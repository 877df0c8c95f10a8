"""The range that holds nearly all values: a fixed share is clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme


@dataclass(frozen=True)
class Percentile:
    """``P(x < low) <= t`` and ``P(x > high) <= t`` with ``t = (1 - percentile / 100) / 2``.

    Two-sided: at most half of the share is cut off each end, 0.005 % by default. No interpolation:
    both ends are values that were seen (centers of bins for activations).
    Source: McKinstry et al. 2018, arXiv:1809.04191; 99.99 as in Wu et al. 2020, arXiv:2004.09602.

    Raises:
        InvalidInputError: percentile outside (0, 100].
    """

    name: ClassVar[str] = "percentile"
    color: ClassVar[str] = "#E69F00"
    rank: ClassVar[int] = 30

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not 0.0 < self.percentile <= 100.0:
            raise InvalidInputError(
                f"percentile must lie above 0 and at most at 100, got {self.percentile}"
            )

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The two quantiles, ``[R]`` and ``[R]``; the scheme does not matter."""
        values, order = rows.values.sort(dim=1)
        counts = rows.counts.gather(1, order)
        below = counts.cumsum(dim=1)  # [R, B], values up to and including this one
        above = counts.sum(dim=1, keepdim=True) - below + counts
        cut = above[:, :1] * ((1.0 - self.percentile / 100.0) / 2.0)
        first = (below > cut).int().argmax(dim=1, keepdim=True)
        last = (above > cut).int().cumsum(dim=1).argmax(dim=1, keepdim=True)
        return values.gather(1, first)[:, 0], values.gather(1, last)[:, 0]


OBSERVER = Percentile()
