"""The range with the smallest mean squared error of the quantized values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from qutils.numerics import affine
from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme

#: Values quantized at a time, candidates x rows x values: what a core's second-level cache holds.
CHUNK = 1 << 17
#: First sweep: 64 fractions of the full range, which itself is tried before.
COARSE = -torch.arange(1, 64) / 64
#: Steps of the sweeps around the best so far; each looks 8 steps to either side.
STEPS = (1 / 16, 1 / 64, 1 / 256)
AROUND = torch.tensor([sign * k for k in range(1, 9) for sign in (-1, 1)])


@dataclass(frozen=True)
class MSE:
    """``argmin over (a, b) of sum_i counts_i (fake_quantize(v_i; a low, b high) - v_i)^2``.

    Grid search in 0..1: both ends shrink together first, then (affine, two-sided data) each end
    alone, in ever finer steps. Every sweep keeps the best so far, so that the result is never
    worse than minmax. Ranges that clip the largest value by more than the best so far errs in all
    are left out, which changes no result.
    Source: Nagel et al. 2021, arXiv:2106.08295, section 3.1; Choukroun et al. 2019,
    arXiv:1902.06822.
    """

    name: ClassVar[str] = "mse"
    color: ClassVar[str] = "#009E73"
    rank: ClassVar[int] = 40

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The best of the searched ranges for these bits, ``[R]`` and ``[R]``."""
        alone = not scheme.symmetric and bool(((rows.low < 0) & (rows.high > 0)).any())
        moves = ((1, 0), (0, 1)) if alone else ((1, 1),)
        at_once = max(1, CHUNK // rows.values.shape[1])
        parts = [
            _Search(rows.part(start, start + at_once), scheme).run(moves)
            for start in range(0, len(rows.values), at_once)
        ]
        low, high = torch.cat(parts, dim=1)
        return low.clamp(min=rows.low_or_zero), high.clamp(max=rows.high_or_zero)


OBSERVER = MSE()


class _Search:
    """The best fractions so far of both ends of each row, ``[2, R]``, and their error ``[R]``."""

    def __init__(self, rows: Rows, scheme: Scheme) -> None:
        self.rows, self.scheme = rows, scheme
        low, high = rows.low_or_zero, rows.high_or_zero
        if scheme.symmetric:
            low, high = -torch.maximum(-low, high), torch.maximum(-low, high)
        self.ends = torch.stack([low, high])  # [2, R]
        self.best = torch.ones_like(self.ends)
        self.error = squared_error(rows, low[None], high[None], scheme)[0]
        values = rows.values
        self.reach = torch.stack([-values.amin(dim=1), values.amax(dim=1)])  # [2, R]
        self.fewest = rows.counts.amin(dim=1)  # [R]

    def run(self, moves: tuple[tuple[int, int], ...]) -> Tensor:
        """Both ends of the best range of each row, ``[2, R]``."""
        self.sweep(COARSE, (1, 1))
        for step in STEPS:
            for move in moves:
                self.sweep(AROUND * step, move)
        return self.best * self.ends

    def sweep(self, offsets: Tensor, move: tuple[int, int]) -> None:
        """Try ``best + offset * move``, row by row; a tie keeps what was first."""
        direction = torch.tensor(move, device=self.best.device)[:, None]  # [2, 1]
        offsets = offsets.to(self.best)[:, None, None]  # [K, 1, 1]
        fractions = (self.best + offsets * direction).clamp(0.0, 1.0)  # [K, 2, R]
        fractions = fractions[self.promising(fractions).any(dim=1)]
        if len(fractions) == 0:
            return
        candidates = fractions * self.ends
        errors = squared_error(self.rows, candidates[:, 0], candidates[:, 1], self.scheme)
        least, winner = errors.min(dim=0)  # [R]
        better = least < self.error
        found = fractions.gather(0, winner.expand(1, 2, -1))[0]
        self.best = torch.where(better, found, self.best)
        self.error = torch.where(better, least, self.error)

    def promising(self, fractions: Tensor) -> Tensor:
        """Whether ``[K, 2, R]`` can be better than the best so far, by row: ``[K, R]``.

        The value farthest out is alone off by ``reach - end``, less the step by which rounding the
        zero point may shift a range. The full range was tried first of all.
        """
        ends = fractions * self.ends
        step = (ends[:, 1] - ends[:, 0]) / (self.scheme.qmax - self.scheme.qmin)  # [K, R]
        clipped = (self.reach - ends.abs()).amax(dim=1) - step
        floor = (clipped.clamp(min=0.0) / _peak(self.rows)).square() * self.fewest
        untried = (fractions < 1.0).any(dim=1) & (fractions != self.best).any(dim=1)
        return untried & (floor <= self.error)


def _peak(rows: Rows) -> Tensor:
    """The largest magnitude of each row, ``[R]``; 1 where all is zero."""
    peak = torch.maximum(-rows.low, rows.high)
    return torch.where(peak > 0, peak, 1.0)


@torch.no_grad()
def squared_error(rows: Rows, low: Tensor, high: Tensor, scheme: Scheme) -> Tensor:
    """``sum counts (fake_quantize(v) - v)^2 / max|v|^2`` of each row under K candidate ranges.

    Args:
        low, high: ``[K, R]``.

    Returns:
        float64 ``[K, R]``; relative to the row's largest magnitude, so that nothing overflows.
    """
    values, peak = rows.values, _peak(rows)[:, None]  # [R, B], [R, 1]
    once = rows.counts.stride() == (0, 0) and bool(rows.counts[0, 0] == 1)
    by_row = replace(scheme, granularity="per_channel", group_size=None)
    q = affine.qparams(low[..., None], high[..., None], by_row)  # [K, R, 1]
    least, most = q.qmin - q.zero_point.float(), q.qmax - q.zero_point.float()
    at_once = min(len(low), max(1, CHUNK // values.numel()))
    y = values.new_empty(at_once, *values.shape)
    wide = torch.empty_like(y, dtype=torch.float64)
    errors = []
    for start in range(0, len(low), at_once):
        cut = slice(start, start + at_once)
        k = len(low[cut])
        error = torch.div(values, q.scale[cut], out=y[:k]).round_()
        torch.minimum(torch.maximum(error, least[cut], out=error), most[cut], out=error)
        error.mul_(q.scale[cut]).sub_(values).div_(peak).square_()
        weighted = wide[:k].copy_(error)
        errors.append((weighted if once else weighted.mul_(rows.counts)).sum(dim=2))
    return torch.cat(errors)
