"""Tensors joined along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.values import Grid, Quantized, Unrounded


def concatenate(parts: Sequence[Quantized], axis: int = 0) -> Quantized | Unrounded:
    """Each part by its own table: ``qy = round(sx (qx - zx) / sy) + zy``.

    Parts of one grid are only moved.
    """
    if all(_same(part.grid, parts[0].grid) for part in parts):
        return Quantized(torch.cat([part.integers for part in parts], axis), parts[0].grid)

    def rounded(grid: Grid) -> Tensor:
        on_grid = [p.integers if _same(p.grid, grid) else grid.quantize(p.value()) for p in parts]
        return torch.cat(on_grid, axis)

    return Unrounded(rounded, lambda: torch.cat([part.value() for part in parts], axis))


def _same(one: Grid, other: Grid) -> bool:
    alike = torch.equal(one.scale, other.scale) and torch.equal(one.zero_point, other.zero_point)
    return alike and (one.qmin, one.qmax) == (other.qmin, other.qmax)


RECORDS = (OpSpec("cat", "requantized", kernel=concatenate, rank=45),)
