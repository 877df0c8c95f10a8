"""Reductions of some axes: means, sums and extremes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.fx import Node

from qutils.graph.nodes import argument, float_inputs
from qutils.graph.ops.rounding import of_value
from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.values import Quantized, Unrounded

Axes = int | Sequence[int] | None


def reduced_axes(node: Node) -> tuple[int, ...]:
    """Return the axes that a reduction removes, in order; none given means all.

    Raises:
        IndexError: the node reads no float tensor.
    """
    return _places(
        argument(node, 1, node.kwargs.get("dim")), float_inputs(node)[0].meta["val"].ndim
    )


def mean(x: Quantized, axes: Axes = None, keepdim: bool = False) -> Unrounded:
    """``qy = round(sum (qx - zx) sx / (n sy)) + zy`` over the ``n`` values of the axes."""
    return _total(x, axes, keepdim, divide=True)


def total(x: Quantized, axes: Axes = None, keepdim: bool = False) -> Unrounded:
    """``qy = round(sum (qx - zx) sx / sy) + zy`` over the axes."""
    return _total(x, axes, keepdim, divide=False)


def _total(x: Quantized, axes: Axes, keepdim: bool, divide: bool) -> Unrounded:
    centered = (x.integers - x.grid.zero_point).double()
    places = _places(axes, centered.ndim)
    n = math.prod(centered.shape[place] for place in places) if divide else 1
    summed = centered.sum(places, keepdim=keepdim) / n
    return of_value(summed.float() * x.grid.scale)


def _places(axes: Axes, rank: int) -> tuple[int, ...]:
    chosen = [axes] if isinstance(axes, int) else list(axes or range(rank))
    return tuple(sorted(int(axis) % rank for axis in chosen))


def _keeps_batch(node: Node) -> bool:
    """Return True if samples stay apart, and the result has the type of its operand."""
    return 0 not in reduced_axes(node) and node.kwargs.get("dtype") is None


RECORDS = (
    OpSpec("mean", "requantized", _keeps_batch, mean, rank=53),
    OpSpec("sum", "requantized", _keeps_batch, total, rank=54),
    OpSpec("amax", "pass_through", _keeps_batch, rank=55),
    OpSpec("amin", "pass_through", _keeps_batch, rank=56),
)
