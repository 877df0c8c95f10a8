"""The list of observers, and the way from rows to a range and to scale and zero point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from torch import Tensor

from qutils.discovery import Discovered
from qutils.numerics import affine
from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme


class Observer(Protocol):
    """Derives a range from what was observed; deterministic, never NaN, all rows at once.

    ``color`` is its own in every figure; ``rank`` is its place in lists.
    """

    name: ClassVar[str]
    color: ClassVar[str]
    rank: ClassVar[int]

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """``(low [R], high [R])`` with ``min(rows.low, 0) <= low <= high <= max(rows.high, 0)``."""
        ...


#: Every observer by name: ``OBSERVER`` of each module of this package. ``Scheme.observer`` takes
#: these names, CLI choices and tests read them.
OBSERVERS: Mapping[str, Observer] = Discovered("qutils.numerics.observers", "OBSERVER")


def range_of(rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The range of each row, ``(low [R], high [R])``, by the scheme's observer."""
    return OBSERVERS[scheme.observer].range(rows, scheme)


def qparams_of(rows: Rows, scheme: Scheme, axis: int | None = None) -> affine.QParams:
    """Scale and zero point, ``[]``, ``[C]`` or ``[C, G]`` as the rows were cut.

    >>> import torch
    >>> from qutils.numerics.observers.rows import rows_of
    >>> scheme = Scheme(bits=4, signed=True, symmetric=True, granularity="per_channel")
    >>> qparams_of(rows_of(torch.tensor([[7.0, 1.0], [-14.0, 2.0]]), axis=0), scheme, axis=0).scale
    tensor([1., 2.])
    """
    low, high = range_of(rows, scheme)
    return affine.qparams(low.reshape(rows.shape), high.reshape(rows.shape), scheme, axis)
