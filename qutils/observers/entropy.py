"""The range that keeps most of the distribution's information (KL divergence)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.observers.rows import Rows
from qutils.schemes import Scheme

#: Bins over the full range. Twice the bins of a statistic's side: no two of its bins fall in one.
BINS = 4096
#: Candidate windows: 1/128, 2/128, .. 1 of the full range.
CANDIDATES = 128
#: Rows worked on at a time, which bounds memory.
ROWS_AT_ONCE = 32
#: Counts that a level emptied by clipping is given, so that the divergence stays finite.
SMOOTHING = 1e-4


@dataclass(frozen=True)
class Entropy:
    """``argmin over windows of KL(P || Q) = sum_i P_i log(P_i / Q_i)``.

    P: the histogram inside the window, what lies outside folded into the window's edge bins. Q: the
    unfolded histogram summed within each quantization level and spread evenly over the level's
    non-empty bins. Symmetric schemes look at ``|x|``; affine ones shrink both ends toward zero by
    one factor. The bin of zero is lowered to its neighbours: zero is exact in every window, and a
    ReLU's spike there would drown the rest. Rows of few values come out as minmax.
    Source: Migacz 2017, "8-bit Inference with TensorRT", GTC; Wu et al. 2020, arXiv:2004.09602.
    """

    def range(self, rows: Rows, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The window of least divergence for these bits, ``[R]`` and ``[R]``."""
        low, high = rows.low_or_zero, rows.high_or_zero
        magnitudes = bool(scheme.symmetric)
        levels = scheme.qmax - scheme.qmin + 1
        if magnitudes:
            low, high = torch.zeros_like(low), torch.maximum(-low, high)
            levels = levels // 2 + 1  # zero and the positive ones
        picked = []
        for part in torch.split(torch.arange(len(low), device=low.device), ROWS_AT_ONCE):
            values = rows.values[part].abs() if magnitudes else rows.values[part]
            bins = _histogram(values, rows.counts[part], low[part], high[part])
            picked.append(_best_fraction(*bins, levels))
        fraction = torch.cat(picked).to(high)
        high = high * fraction
        low = -high if magnitudes else low * fraction
        return low.clamp(min=rows.low_or_zero), high.clamp(max=rows.high_or_zero)


def _histogram(values: Tensor, counts: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Counts ``[R, BINS]`` over ``[low, high]``, and the place of zero in bins ``[R]``."""
    span = high.double() - low.double()
    per_bin = torch.where(span > 0, BINS / span, 0.0)
    index = ((values.double() - low.double()[:, None]) * per_bin[:, None]).long()
    histogram = counts.new_zeros(len(values), BINS)
    histogram.scatter_add_(1, index.clamp(0, BINS - 1), counts)
    zero = -low.double() * per_bin
    middle = zero.long().clamp(max=BINS - 1)[:, None]
    # A bin of the statistic is up to four of these wide, and the first beside zero 1.5 away.
    around = (middle + torch.arange(-8, 9, device=middle.device)).clamp(0, BINS - 1)  # [R, 17]
    neighbours = histogram.gather(1, around).where(around != middle, 0.0).amax(dim=1, keepdim=True)
    lowered = torch.minimum(histogram.gather(1, middle), neighbours)
    histogram.scatter_(1, middle, lowered)
    return histogram, zero


def _best_fraction(histogram: Tensor, zero: Tensor, levels: int) -> Tensor:
    """The fraction ``[R]`` of the full range whose window diverges least; ties take the widest."""
    smallest = -(-levels * CANDIDATES // BINS)  # at least one bin for each level
    fractions = torch.arange(CANDIDATES, smallest - 1, -1, device=histogram.device) / CANDIDATES
    start = (zero[:, None] * (1.0 - fractions)).round().long()  # [R, K]
    stop = (zero[:, None] + (BINS - zero[:, None]) * fractions).round().long()
    divergence = _divergence(histogram, start, stop, levels)
    return fractions[(divergence * 1e12).round().argmin(dim=1)]  # rounded: noise is a tie


def _divergence(histogram: Tensor, start: Tensor, stop: Tensor, levels: int) -> Tensor:
    """KL divergence ``[R, K]`` of the windows ``start .. stop`` (bins, ``[R, K]``).

    Levels are runs of bins, so cumulative sums give each window in O(levels):
    ``sum_i P_i log P_i - sum_j P(level j) log(Q(level j) / occupied bins of j)``.
    """
    occupied = (histogram > 0).double()
    below = _running_sum(histogram)
    total = below[:, -1:]
    outside = torch.stack([below.gather(1, start), total - below.gather(1, stop)])  # [2, R, K]
    edges = torch.stack([start, stop - 1])
    inside = torch.stack([histogram.gather(1, edge) for edge in edges])
    # Fold: the edge bins' terms and occupancy are replaced by those with the outside added.
    folded = inside + outside
    p_log_p = _between(_running_sum(torch.xlogy(histogram, histogram)), start, stop)
    p_log_p += (torch.xlogy(folded, folded) - torch.xlogy(inside, inside)).sum(dim=0)
    newly = ((inside == 0) & (outside > 0)).double()  # [2, R, K]

    steps = torch.arange(levels + 1, device=histogram.device)
    bounds = start[..., None] + (stop - start)[..., None] * steps // levels  # [R, K, L + 1]
    flat = bounds.flatten(1)
    q = below.gather(1, flat).view(bounds.shape).diff(dim=2)  # [R, K, L]
    n = _running_sum(occupied).gather(1, flat).view(bounds.shape).diff(dim=2)
    p = q.clone()
    for side, level in ((0, 0), (1, levels - 1)):
        p[..., level] += outside[side]
        n[..., level] += newly[side]
    empty = q.sum(dim=2) == 0  # a window without data would match two folded spikes for nothing
    q = torch.maximum(q, SMOOTHING * n)
    p_log_q = torch.xlogy(p, torch.where(n > 0, q / n.clamp(min=1.0), 1.0)).sum(dim=2)
    # P and Q are normalised by what they hold: everything, and what lies in the window.
    total = total.clamp(min=1.0)
    divergence = (p_log_p - p_log_q) / total - torch.log(total) + torch.log(q.sum(dim=2))
    return torch.where(empty, torch.inf, divergence)


def _running_sum(x: Tensor) -> Tensor:
    """Cumulative sum along dim 1 with a zero in front: ``[R, B] -> [R, B + 1]``."""
    return torch.nn.functional.pad(x.cumsum(dim=1), (1, 0))


def _between(running: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """``sum of start .. stop - 1`` of what ``running`` sums, ``[R, K]``."""
    return running.gather(1, stop) - running.gather(1, start)
