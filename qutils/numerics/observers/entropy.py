"""The range that keeps most of the distribution's information (KL divergence)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from qutils.numerics.observers.rows import Rows
from qutils.numerics.schemes import Scheme

#: Bins over the full range. Twice the bins of a statistic's side: no two of its bins fall in one.
BINS = 4096
#: Candidate windows: 1/128, 2/128, .. 1 of the full range.
CANDIDATES = 128
#: Rows worked on at a time, which bounds memory.
ROWS_AT_ONCE = 32
#: Values that a row must hold for each level, on average, for its divergences to mean something.
PER_LEVEL = 16
#: Counts that a level emptied by clipping is given, so that the divergence stays finite.
SMOOTHING = 1e-4
#: Divergences that differ by less are equal: rounding errors decide nothing.
NOISE = 1e-12


@dataclass(frozen=True)
class Entropy:
    """``argmin over windows of KL(P || Q) = sum_i P_i log(P_i / Q_i)``.

    P: the histogram inside the window, what lies outside folded into the window's edge bins. Q: the
    unfolded histogram summed within each quantization level and spread evenly over the level's
    non-empty bins. Symmetric schemes look at ``|x|``; affine ones shrink both ends toward zero by
    one factor. The bin of zero is lowered to its neighbours: zero is exact in every window, and a
    ReLU's spike there would drown the rest. Rows of less than ``PER_LEVEL`` values a level come out
    as minmax, as most filters do at 8 bits: their histogram is too sparse to be a distribution.
    Source: Migacz 2017, "8-bit Inference with TensorRT", GTC; Wu et al. 2020, arXiv:2004.09602.
    """

    name: ClassVar[str] = "entropy"
    color: ClassVar[str] = "#000000"
    rank: ClassVar[int] = 50

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The window of least divergence for these bits, ``[R]`` and ``[R]``."""
        low, high = rows.low_or_zero, rows.high_or_zero
        magnitudes = bool(scheme.symmetric)
        levels = scheme.qmax - scheme.qmin + 1
        if magnitudes:
            low, high = torch.zeros_like(low), torch.maximum(-low, high)
            levels = (levels - 1) // 2 + 1  # zero and the positive ones
        values = rows.values.abs() if magnitudes else rows.values
        fraction = torch.ones_like(high)
        search = (rows.counts.sum(dim=1) >= PER_LEVEL * levels).nonzero().flatten()
        for part in torch.split(search, ROWS_AT_ONCE):
            bins = _histogram(values[part], rows.counts[part], low[part], high[part])
            fraction[part] = _best_fraction(*bins, levels).to(fraction)
        high = high * fraction
        low = -high if magnitudes else low * fraction
        return low.clamp(min=rows.low_or_zero), high.clamp(max=rows.high_or_zero)


OBSERVER = Entropy()


def _index(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The bin of each value, ``[R, B]``, of ``BINS`` over ``[low, high]``."""
    index = (values.double() - low.double()[:, None]) * _per_bin(low, high)[:, None]
    return index.long().clamp(0, BINS - 1)


def _per_bin(low: Tensor, high: Tensor) -> Tensor:
    """Bins in one unit of the tensor, ``[R]``; 0 where the range is empty."""
    span = high.double() - low.double()
    return torch.where(span > 0, BINS / span, 0.0)


def _histogram(values: Tensor, counts: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Counts ``[R, BINS]`` over ``[low, high]``, and the place of zero in bins ``[R]``."""
    histogram = counts.new_zeros(len(values), BINS)
    histogram.scatter_add_(1, _index(values, low, high), counts)
    zero = -low.double() * _per_bin(low, high)
    middle = zero.long().clamp(max=BINS - 1)[:, None]
    # A bin of the statistic is up to four of these wide, and the first beside zero 1.5 away.
    around = (middle + torch.arange(-8, 9, device=middle.device)).clamp(0, BINS - 1)  # [R, 17]
    neighbours = histogram.gather(1, around).where(around != middle, 0.0).amax(dim=1, keepdim=True)
    lowered = torch.minimum(histogram.gather(1, middle), neighbours)
    histogram.scatter_(1, middle, lowered)
    return histogram, zero


def _best_fraction(histogram: Tensor, zero: Tensor, levels: int) -> Tensor:
    """The fraction ``[R]`` of the full range whose window diverges least; ties take the widest.

    Branch and bound: windows that cannot beat the full range are left out (see ``at_least``).
    """
    smallest = -(-levels * CANDIDATES // BINS)  # at least one bin for each level
    fractions = torch.arange(CANDIDATES, smallest - 1, -1, device=histogram.device) / CANDIDATES
    start = (zero[:, None] * (1.0 - fractions)).round().long()  # [R, K]
    stop = (zero[:, None] + (BINS - zero[:, None]) * fractions).round().long()
    windows = _Windows(histogram)
    row = torch.arange(len(histogram), device=histogram.device)
    divergence = torch.full(start.shape, torch.inf, dtype=torch.float64, device=start.device)
    divergence[:, 0] = windows.divergence(row, start[:, 0], stop[:, 0], levels)
    bound = windows.at_least(row[:, None], start, stop, levels)
    row, k = (bound < divergence[:, :1] - NOISE).nonzero(as_tuple=True)
    divergence[row, k] = windows.divergence(row, start[row, k], stop[row, k], levels)
    return fractions[(divergence / NOISE).round().argmin(dim=1)]  # less than noise is a tie


class _Windows:
    """KL divergences of windows of a histogram ``[R, BINS]``, from its cumulative sums."""

    def __init__(self, histogram: Tensor) -> None:
        p_log_p = torch.zeros_like(histogram)
        some = histogram.nonzero(as_tuple=True)
        p_log_p[some] = histogram[some] * histogram[some].log()
        self.histogram = histogram
        self.below = _running_sum(histogram)  # [R, BINS + 1]
        self.occupied = _running_sum((histogram > 0).double())
        self.p_log_p = _running_sum(p_log_p)

    def divergence(self, row: Tensor, start: Tensor, stop: Tensor, levels: int) -> Tensor:
        """``KL(P || Q)`` of the windows ``start .. stop`` (bins) of the rows ``row``, all ``[N]``.

        Levels are runs of bins, so cumulative sums give each window in O(levels):
        ``sum_i P_i log P_i - sum_j P(level j) log(Q(level j) / occupied bins of j)``.
        """
        steps = torch.arange(levels + 1, device=start.device)
        bounds = start[:, None] + (stop - start)[:, None] * steps // levels  # [N, L + 1]
        p, q, n = self._levels(row[:, None], start, stop, bounds)
        empty = q.sum(dim=1) == 0  # a window without data would match two folded spikes for nothing
        q = torch.maximum(q, SMOOTHING * n)
        # An occupied level has SMOOTHING a bin at least; in others p = 0, whatever the logarithm.
        log_q = (q / n.clamp_(min=1.0)).clamp_(min=SMOOTHING).log_()
        # P and Q are normalised by what they hold: everything, and what lies in the window.
        total = self.below[row, -1].clamp(min=1.0)
        divergence = (self._p_log_p(row, start, stop) - (p * log_q).sum(dim=1)) / total
        divergence += q.sum(dim=1).log() - total.log()
        return torch.where(empty, torch.inf, divergence)

    def at_least(self, row: Tensor, start: Tensor, stop: Tensor, levels: int) -> Tensor:
        """A lower bound of ``divergence`` in O(1) a window; ``row`` ``[R, 1]``, others ``[R, K]``.

        Merging cells never raises a KL divergence; here all levels but the first and last merge.
        Source: Cover and Thomas 2006, "Elements of Information Theory", section 2.7 (log sum
        inequality).
        """
        width = stop - start
        inner = (start + width // levels, start + width * (levels - 1) // levels)
        bounds = torch.stack([start, *inner, stop], dim=-1)  # [R, K, 4]
        p, q, n = self._levels(row[..., None], start, stop, bounds)
        q = torch.maximum(q, SMOOTHING * n)
        total = self.below[row, -1].clamp(min=1.0)
        share = (q / q.sum(dim=-1, keepdim=True).clamp(min=SMOOTHING)).clamp(min=1e-300)
        return torch.xlogy(p / total[..., None], p / total[..., None] / share).sum(dim=-1)

    def _levels(
        self, row: Tensor, start: Tensor, stop: Tensor, bounds: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """P, Q (not normalised) and occupied bins of each level ``[..., L]``; outside is folded."""
        q = self.below[row, bounds].diff(dim=-1)
        n = self.occupied[row, bounds].diff(dim=-1)
        p = q.clone()
        inside, outside = self._edges(row[..., 0], start, stop)
        for side, level in ((0, 0), (1, -1)):
            p[..., level] += outside[side]
            n[..., level] += (inside[side] == 0) & (outside[side] > 0)
        return p, q, n

    def _edges(self, row: Tensor, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        """Counts in a window's first and last bin, and before and after: ``[2, ...]`` each."""
        inside = torch.stack([self.histogram[row, start], self.histogram[row, stop - 1]])
        behind = self.below[row, -1] - self.below[row, stop]
        return inside, torch.stack([self.below[row, start], behind])

    def _p_log_p(self, row: Tensor, start: Tensor, stop: Tensor) -> Tensor:
        """``sum P_i log P_i``, not normalised: the edge bins' terms are those with what folds."""
        inside, outside = self._edges(row, start, stop)
        folded = inside + outside
        change = (torch.xlogy(folded, folded) - torch.xlogy(inside, inside)).sum(dim=0)
        return self.p_log_p[row, stop] - self.p_log_p[row, start] + change


def _running_sum(x: Tensor) -> Tensor:
    """Cumulative sum along dim 1 with a zero in front: ``[R, B] -> [R, B + 1]``."""
    return torch.nn.functional.pad(x.cumsum(dim=1), (1, 0))
