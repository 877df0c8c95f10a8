"""The range with the smallest mean squared error of the quantized values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qutils import affine
from qutils.observers.rows import Rows
from qutils.schemes import Scheme

#: Values quantized at a time: candidates x rows x values.
CHUNK = 1 << 17
#: First sweep: 64 fractions of the full range, the full range first.
COARSE = -torch.arange(64) / 64
#: Steps of the sweeps around the best so far; each looks 8 steps to either side.
STEPS = (1 / 16, 1 / 64, 1 / 256)
AROUND = torch.tensor([0, *(sign * k for k in range(1, 9) for sign in (-1, 1))])


@dataclass(frozen=True)
class MSE:
    """``argmin over (a, b) of sum_i counts_i (fake_quantize(v_i; a low, b high) - v_i)^2``.

    Grid search in 0..1: both ends shrink together first, then (affine, two-sided data) each end
    alone, in ever finer steps. Every sweep keeps the best so far, so that the result is never
    worse than minmax.
    Source: Nagel et al. 2021, arXiv:2106.08295, section 3.1; Choukroun et al. 2019,
    arXiv:1902.06822.
    """

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The best of the searched ranges for these bits, ``[R]`` and ``[R]``."""
        low, high = rows.low_or_zero, rows.high_or_zero
        if scheme.symmetric:
            low, high = -torch.maximum(-low, high), torch.maximum(-low, high)
        ends = torch.stack([low, high])  # [2, R]
        alone = not scheme.symmetric and bool(((low < 0) & (high > 0)).any())
        moves = ((1, 0), (0, 1)) if alone else ((1, 1),)
        best = _sweep(rows, scheme, ends, torch.ones_like(ends), COARSE, (1, 1))
        for step in STEPS:
            for move in moves:
                best = _sweep(rows, scheme, ends, best, AROUND * step, move)
        low, high = best * ends
        return low.clamp(min=rows.low_or_zero), high.clamp(max=rows.high_or_zero)


def _sweep(
    rows: Rows, scheme: Scheme, ends: Tensor, best: Tensor, offsets: Tensor, move: tuple[int, int]
) -> Tensor:
    """The best of ``best + offset * move``, row by row; ``best`` and the result are ``[2, R]``.

    The first offset is 0 and ties keep the first, so the error never rises.
    """
    direction = torch.tensor(move, device=best.device)[:, None]  # [2, 1]
    offsets = offsets.to(best)[:, None, None]  # [K, 1, 1]
    fractions = (best + offsets * direction).clamp(0.0, 1.0)  # [K, 2, R]
    candidates = fractions * ends
    errors = squared_error(rows, candidates[:, 0], candidates[:, 1], scheme)
    winner = errors.argmin(dim=0)  # [R]
    return fractions.gather(0, winner.expand(1, 2, -1))[0]


def squared_error(rows: Rows, low: Tensor, high: Tensor, scheme: Scheme) -> Tensor:
    """``sum counts (fake_quantize(v) - v)^2 / max|v|^2`` of each row under K candidate ranges.

    Args:
        low, high: ``[K, R]``.

    Returns:
        float64 ``[K, R]``; relative to the row's largest magnitude, so that nothing overflows.
    """
    values = rows.values  # [R, B]
    peak = torch.maximum(-rows.low, rows.high)
    peak = torch.where(peak > 0, peak, 1.0)[:, None]
    by_row = replace(scheme, granularity="per_channel", group_size=None)
    at_once = max(1, CHUNK // values.numel())
    errors = []
    for lows, highs in zip(torch.split(low, at_once), torch.split(high, at_once), strict=True):
        tiled = values.expand(len(lows), -1, -1).flatten(0, 1)  # [k R, B]
        q = affine.qparams(lows.flatten(), highs.flatten(), by_row, axis=0)
        error = (affine.fake_quantize(tiled, q) - tiled).view(len(lows), *values.shape) / peak
        errors.append((error.square() * rows.counts).sum(dim=2))
    return torch.cat(errors)
