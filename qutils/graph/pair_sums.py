"""Kernels that add products of 8-bit integers in pairs of 16 bits, and weights that are safe there.

x86 CPUs without VNNI multiply unsigned activations by signed weights with ``vpmaddubsw``, which
adds two neighbouring products in 16 bits and saturates. Two activations of 255 leave 16 bits where
their weights, of one sign, reach 129 together:

    255 * 128 = 32,640 <= 32,767 < 255 * 129

A filter whose scale is wide enough that no pair of neighbours exceeds 128 is computed alike on
every CPU. ``safe_scale`` finds the smallest such scale. 7-bit weights (at most 63 + 63) are another
way, and cost more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.numerics.schemes import Scheme

#: What sums 8-bit products: instructions that add four of them in 32 bits (AVX-512 VNNI, AVX-VNNI),
#: or those of AVX2 and AVX-512 without VNNI, which add two in 16 bits.
Instructions = Literal["vnni", "avx2"]
INSTRUCTIONS: tuple[str, ...] = get_args(Instructions)
#: Largest sum of two neighbouring weights of one sign that two activations of 255 keep in 16 bits.
LIMIT = 128
_HALVINGS = 12


@dataclass(frozen=True)
class PairSums:
    """Whether a backend's integer kernels can saturate, on which CPUs, and what prevents it.

    ``cpus`` is empty where they never do. ``switch`` makes the kernels exact; empty if nothing
    does, so that only the weights can prevent it. Tests check every backend's record on the CPU
    that runs them, natively and under ``tools/avx2``.
    """

    cpus: str = ""
    switch: str = ""
    kernels: str = ""  # what computes
    neighbours: Literal["filter", "place"] = "filter"  # within which weights are paired

    @property
    def can_saturate(self) -> bool:
        """Whether there is a CPU on which the kernels add in 16 bits."""
        return bool(self.cpus)

    @property
    def needs_safe_weights(self) -> bool:
        """Whether only the weights can keep the kernels from saturating."""
        return self.can_saturate and not self.switch

    def __str__(self) -> str:
        """Return what a table shows.

        >>> print(PairSums(kernels="XNNPACK"))
        never (XNNPACK)
        """
        if not self.can_saturate:
            return f"never ({self.kernels})"
        remedy = self.switch or "no switch: weights that cannot overflow"
        return f"on {self.cpus} ({self.kernels}; {remedy})"


#: The CPUs on which kernels of backends that saturate do so.
WITHOUT_VNNI = "x86 with AVX2 or AVX-512 but no VNNI"


def can_overflow(scheme: Scheme) -> bool:
    """Whether weights of this scheme can form a pair beyond ``LIMIT``.

    Kernels for unsigned weights do not add in 16 bits; 7 bits reach 126 at the most.

    >>> [can_overflow(Scheme(bits, signed=True, symmetric=True)) for bits in (7, 8)]
    [False, True]
    """
    return bool(scheme.signed) and 2 * max(scheme.qmax, -scheme.qmin) > LIMIT


def is_depthwise(weight: Tensor, groups: int) -> bool:
    """Whether a convolution has one channel a group and filter, whose kernels add in 32 bits."""
    return groups > 1 and weight.shape[1] == 1 and len(weight) == groups


def pairs(w: Tensor) -> Iterator[Tensor]:
    """Yield the neighbours that kernels add, ``[O, J, 2]``, of filters ``[O, C, ...]``.

    A filter is read place by place, and at each place channel by channel. Where the channels are
    odd in number, kernels differ: MLAS pairs the last with the first of the next place, oneDNN
    leaves it alone, and pairs the places of a row where there is one channel (AVX-512). All of
    these are yielded.
    """
    read = w.movedim(1, -1)  # [O, ..., C]
    orders = [read.reshape(len(w), 1, -1)]
    if w.ndim > 2 and w.shape[1] % 2:
        orders.append(read)
    if w.ndim > 2 and w.shape[1] == 1:
        orders.append(w)
    for rows in orders:
        yield F.pad(rows, (0, rows.shape[-1] % 2)).reshape(len(w), -1, 2)


def worst_pair(w: Tensor) -> Tensor:
    """Return the largest sum of two neighbours of one sign in each filter: ``[O, C, ...] -> [O]``.

    >>> worst_pair(torch.tensor([[100, 29, -3, 127], [100, 20, -100, -28]])).tolist()
    [129, 128]
    """
    found = [
        torch.maximum(p.clamp(min=0).sum(2), (-p).clamp(min=0).sum(2)).amax(1) for p in pairs(w)
    ]
    return torch.stack(found).amax(0)


def safe_scale(w: Tensor, scale: Tensor, scheme: Scheme) -> Tensor:
    """Return the scale, widened just enough that no pair of the rounded weights exceeds ``LIMIT``.

    ``scale' = f scale`` with the smallest ``f >= 1`` (by bisection) for which the pairs of
    ``round(w / scale')`` are safe: per filter where the scale is ``[O]``, one ``f`` where it is
    ``[]``. Wider scales are safe as well.

    Args:
        w: float weights ``[O, C, ...]``. scale: ``[]`` or ``[O]``, positive.

    >>> scheme = Scheme(signed=True, symmetric=True, granularity="per_channel")
    >>> w = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    >>> (w / safe_scale(w, torch.tensor([1 / 127, 1 / 127]), scheme)[:, None]).round().tolist()
    [[64.0, 64.0], [127.0, 0.0]]
    """
    if not can_overflow(scheme) or w.numel() == 0:
        return scale

    def integers(scale: Tensor) -> Tensor:
        per_filter = scale.reshape(-1, *[1] * (w.ndim - 1))
        return torch.round(w / per_filter).clamp(scheme.qmin, scheme.qmax)

    def safe(factor: Tensor) -> Tensor:
        worst = worst_pair(integers(scale * factor))
        return (worst if scale.ndim else worst.amax()) <= LIMIT

    largest = w.abs().reshape(len(w), -1).amax(1)
    low = torch.ones_like(scale)
    high = ((largest if scale.ndim else largest.amax()) / (scale * (LIMIT // 2))).clamp(min=1.0)
    high = torch.where(safe(low), low, high)  # two weights of 64 are safe
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = safe(middle)
        low, high = torch.where(fits, low, middle), torch.where(fits, middle, high)
    return scale * high
