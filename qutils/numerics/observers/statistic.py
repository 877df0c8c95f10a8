"""One streaming statistic per tensor, from which every observer derives its range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.numerics.observers.rows import Rows

#: Bins on each side of zero; the span is ``BINS * width``.
BINS = 2048
#: Weight of the past in the running extremes.
MOMENTUM = 0.9
#: Values binned at a time; small buffers bound memory (measured 2 to 4 ns a value on one core).
CHUNK = 1 << 18
#: Smallest exponent of the span, so that ``1 / width`` stays a normal float32.
_MIN_EXPONENT = -110
_BITS = BINS.bit_length() - 1  # BINS = 2^11


class Statistic:
    """Histogram, exact extremes and running extremes of everything observed.

    Bin ``i = trunc(x / width)`` for ``|i| < BINS``, width a power of two: the smallest for which
    ``max |x| < BINS * width``. Bin 0 is ``(-width, width)``, so zero (ReLU, padding) is a center.
    When a batch exceeds the span, width doubles and bins merge in pairs, which is exact:
    ``trunc(trunc(x / w) / 2) = trunc(x / 2w)``. So the histogram depends neither on the order nor
    on the size of the batches, and memory (33 kB) not on their number.

    Running extremes: ``m <- 0.9 m + 0.1 min(batch)``, the first batch initialises.

    Attributes:
        counts_: int64 ``[2 BINS - 1]``; bin ``i`` at ``counts_[i + BINS - 1]``.
        width_: of a bin, in units of the tensor.
        min_, max_, running_min_, running_max_: floats, NaN before the first batch.
        count_, batches_: number of values and of calls.
    Source: dynamic-range histograms as in ``torch.ao.quantization.HistogramObserver``, here with
        power-of-two widths; running extremes as in its ``MovingAverageMinMaxObserver``.

    >>> s = Statistic("relu").observe(torch.tensor([0.0, 1.0])).observe(torch.tensor([6.0]))
    >>> s.min_, s.max_, s.count_, s.batches_
    (0.0, 6.0, 3, 2)
    """

    def __init__(self, name: str = "tensor") -> None:
        self.name = name
        self.counts_ = torch.zeros(2 * BINS - 1, dtype=torch.int64)
        self.min_ = self.max_ = self.running_min_ = self.running_max_ = math.nan
        self.count_ = self.batches_ = 0
        self._exponent = _MIN_EXPONENT

    @property
    def width_(self) -> float:
        """Width of a bin: ``2^e / BINS`` with ``2^e > max |x|``."""
        return math.ldexp(1.0, self._exponent - _BITS)

    def observe(self, x: Tensor) -> Statistic:
        """Add one batch, of any shape; returns self.

        Raises:
            InvalidInputError: empty, NaN or Inf; nothing is added then.
        """
        if x.numel() == 0:
            raise InvalidInputError(f"{self.name}: a batch of shape {tuple(x.shape)} has no values")
        flat = _flat(x.detach().float())
        low, high = torch.stack(flat.aminmax()).tolist()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InvalidInputError(
                f"{self.name} holds NaN or Inf: look for them in the calibration data and weights"
            )
        self._widen(math.frexp(max(-low, high))[1])
        self.counts_ += _bin_counts(flat, 1.0 / self.width_)
        self._update_extremes(low, high)
        self.count_ += flat.numel()
        return self

    def rows(self) -> Rows:
        """The occupied bins as one row: centers, clamped to the exact extremes, and counts.

        Raises:
            InvalidInputError: nothing was observed.
        """
        if self.count_ == 0:
            raise InvalidInputError(f"{self.name} saw no data: give calibration at least one batch")
        occupied = self.counts_.nonzero().flatten()
        index = (occupied - (BINS - 1)).double()
        centers = (index + 0.5 * index.sign()) * self.width_
        extremes = [self.min_, self.max_, self.running_min_, self.running_max_]
        low, high, running_low, running_high = torch.tensor(extremes).unbind()
        return Rows(
            values=centers.float().clamp(low, high)[None],
            counts=self.counts_[occupied].double()[None],
            low=low[None],
            high=high[None],
            running_low=running_low[None].clamp(low, high),
            running_high=running_high[None].clamp(low, high),
            shape=(),
        )

    def _widen(self, exponent: int) -> None:
        """Merge bins until the span is ``2^exponent``: bin ``i`` goes to ``trunc(i / 2^n)``."""
        doublings = exponent - self._exponent
        if doublings <= 0:
            return
        index = torch.arange(1 - BINS, BINS)
        target = index.sign() * (index.abs() >> min(doublings, _BITS)) + BINS - 1
        self.counts_ = torch.zeros_like(self.counts_).index_add_(0, target, self.counts_)
        self._exponent = exponent

    def _update_extremes(self, low: float, high: float) -> None:
        if self.batches_ == 0:
            self.min_ = self.running_min_ = low
            self.max_ = self.running_max_ = high
        else:
            self.min_, self.max_ = min(self.min_, low), max(self.max_, high)
            self.running_min_ = MOMENTUM * self.running_min_ + (1 - MOMENTUM) * low
            self.running_max_ = MOMENTUM * self.running_max_ + (1 - MOMENTUM) * high
        self.batches_ += 1


def _flat(x: Tensor) -> Tensor:
    """All values in the order of memory: no copy for any dense layout (channels_last too)."""
    order = sorted(range(x.ndim), key=lambda d: -x.stride()[d])
    return x.permute(order).reshape(-1)


def _bin_counts(flat: Tensor, per_width: float) -> Tensor:
    """How many values fall in each bin, ``[2 BINS - 1]`` int64 on the CPU."""
    size = min(CHUNK, flat.numel())
    scaled = torch.empty(size, device=flat.device)
    index = torch.empty(size, dtype=torch.int16, device=flat.device)
    total = torch.zeros(2 * BINS - 1, dtype=torch.int64, device=flat.device)
    for chunk in torch.split(flat, CHUNK):
        n = chunk.numel()
        torch.mul(chunk, per_width, out=scaled[:n])  # exact: a power of two
        index[:n].copy_(scaled[:n]).add_(BINS - 1)  # the conversion truncates toward zero
        total += torch.bincount(index[:n], minlength=2 * BINS - 1)
    return total.cpu()
