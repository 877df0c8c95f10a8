"""What x86 kernels without VNNI compute: pairs of products are added in 16 bits; SATURATING.

``vpmaddubsw`` multiplies unsigned activations by signed weights and adds neighbours before anything
is widened, so that each pair saturates:

    acc = sum_j clamp(x[2j] w[2j] + x[2j+1] w[2j+1], -32768, 32767)  - zx sum_k w[k] + qb

``x`` are the stored bytes, their zero point still in them, and padding stores the zero point.
Neighbours are ``k = 2j, 2j + 1`` in the order in which the kernel reads a filter: place by place,
and at each place channel by channel. MLAS reads on from one place to the next; an odd last product
stands alone. oneDNN begins anew at each place, so that an odd last channel stands alone there
(``by_place``), except in grouped convolutions, which it computes as matrix products.

Depthwise convolutions have kernels of their own, which widen first and are exact; so are those for
unsigned weights.
Source: ONNX Runtime 1.x, ``MlasGemmU8S8Kernel`` and ``MlasConvSymKernel`` for AVX2 and AVX-512 Core
(four neighbours of ``k`` a lane, ``vpmaddubsw`` then ``vpmaddwd`` by ones); ``qlinearconv.cc``,
``ReorderFilter``: filters as ``[places, channels in, channels out]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.errors import UnsupportedError, unknown_name
from qutils.graph.ops import Kernel
from qutils.graph.ops.layers import CONVOLUTIONS, convolve, linear
from qutils.graph.ops.rounding import of_accumulator
from qutils.graph.pair_sums import INSTRUCTIONS, Instructions, is_depthwise
from qutils.graph.targets import target
from qutils.integer.kernels import KERNELS
from qutils.numerics.exact.values import Accumulator, Quantized, Unrounded

INT16 = torch.iinfo(torch.int16)
_BYTE = 255


def pair_excess(column: Callable[[int], Tensor], w: Tensor) -> Tensor | None:
    """What saturating adds to each sum: ``sum_j clamp(p_j) - p_j``, int32; None where it cannot.

    Only pairs whose weights of one sign reach 129 together can leave 16 bits, 255 times 129 being
    32,895. Those alone are computed, and most layers have few; weights of 7 bits (126 together)
    have none.

    Args:
        column: number ``k`` -> the bytes ``[N, ...]`` that weight ``k`` multiplies, int32.
        w: integers ``[O, K]`` in the kernel's order.

    Returns:
        ``[N, O, ...]``

    >>> x = torch.tensor([[255, 255, 7]], dtype=torch.int32)
    >>> pair_excess(lambda k: x[:, k], torch.tensor([[127, 127, 5], [127, -127, 5]])).tolist()
    [[-32003, 0]]
    """
    pairs = F.pad(w.int(), (0, w.shape[1] % 2)).reshape(len(w), -1, 2)  # [O, J, 2]
    most = _BYTE * torch.maximum(pairs.clamp(min=0).sum(2), (-pairs).clamp(min=0).sum(2))
    risky = most > INT16.max
    total: Tensor | None = None
    for j in risky.any(0).nonzero().flatten().tolist():
        rows = risky[:, j].nonzero().flatten()
        first = column(2 * j)[:, None]  # [N, 1, ...]
        second = column(min(2 * j + 1, w.shape[1] - 1))[:, None]  # of an odd last: times 0
        shape = (1, -1, *[1] * (first.ndim - 2))
        sums = first * pairs[rows, j, 0].reshape(shape) + second * pairs[rows, j, 1].reshape(shape)
        if total is None:
            total = first.new_zeros((len(first), len(w), *first.shape[2:]))
        total.index_add_(1, rows, sums.clamp(INT16.min, INT16.max) - sums)
    return total


def convolve_in_pairs(
    x: Quantized,
    w: Quantized,
    bias: Quantized | Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    by_place: bool = False,
) -> Unrounded:
    """``convolve``, pairs saturating; 1, 2 or 3 axes in space. Depthwise stays exact.

    Args:
        by_place: pairs begin anew at each place of the filter, but in groups (oneDNN).

    Raises:
        UnsupportedError: a bias in float, which these kernels do not take.
    """
    exact = convolve(x, w, bias, stride, padding, dilation, groups)
    out, channels, *size = w.integers.shape
    if w.grid.qmin >= 0 or is_depthwise(w.integers, groups):
        return exact
    acc = _integers(exact)
    strides, dilations = (_each(value, len(size)) for value in (stride, dilation))
    padded = F.pad(_bytes(x), _around(padding, size, dilations), value=_byte_of_zero(x))
    filters = w.integers.movedim(1, -1)  # places, then channels
    width = channels + channels % 2 if by_place and groups == 1 else channels
    filters = F.pad(filters, (0, width - channels)).reshape(groups, out // groups, -1)
    places = list(product(*map(range, size)))

    def column(group: int, k: int) -> Tensor:
        at = places[k // width]
        channel = group * channels + min(k % width, channels - 1)  # beyond the last: times 0
        values = padded[:, channel]
        for axis, (p, d, s) in enumerate(zip(at, dilations, strides, strict=True), start=1):
            values = values.narrow(axis, p * d, s * (acc.shape[axis + 1] - 1) + 1)
            values = values[(slice(None),) * axis + (slice(None, None, s),)]
        return values

    found = [pair_excess(partial(column, g), filters[g]) for g in range(groups)]
    if all(excess is None for excess in found):
        return exact
    none = torch.zeros_like(acc[:, : out // groups])
    total = torch.cat([none if excess is None else excess for excess in found], 1)
    return of_accumulator(acc + total, x, w, axis=1)


def linear_in_pairs(
    x: Quantized, w: Quantized, bias: Quantized | Tensor | None = None
) -> Unrounded:
    """``linear``, pairs saturating.

    Raises:
        UnsupportedError: a bias in float, which these kernels do not take.
    """
    exact = linear(x, w, bias)
    if w.grid.qmin >= 0:
        return exact
    acc, rows = _integers(exact), _bytes(x).flatten(0, -2)
    excess = pair_excess(lambda k: rows[:, k], w.integers)
    if excess is None:
        return exact
    return of_accumulator(acc + excess.reshape(acc.shape), x, w, axis=-1)


def _integers(result: Unrounded) -> Tensor:
    if not isinstance(result, Accumulator):
        raise UnsupportedError(
            "kernels that add pairs in 16 bits take int32 biases: place the model for onnxruntime"
        )
    return result.integers


def _bytes(x: Quantized) -> Tensor:
    """The unsigned bytes that are multiplied; signed ones are moved up by 128 first."""
    return x.integers + 128 if x.grid.qmin < 0 else x.integers


def _byte_of_zero(x: Quantized) -> int:
    return int(x.grid.zero_point) + (128 if x.grid.qmin < 0 else 0)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """One number for each axis in space."""
    many = tuple(value) if isinstance(value, list | tuple) else (value,)
    return many if len(many) == axes else many * axes


def _around(padding: Any, size: list[int], dilation: tuple[int, ...]) -> list[int]:
    """Padding before and after each axis, the last axis first, as ``F.pad`` wants it."""
    if padding == "same":
        totals = [d * (n - 1) for n, d in zip(size, dilation, strict=True)]
        return [m for total in reversed(totals) for m in (total // 2, total - total // 2)]
    amounts = (0,) * len(size) if padding == "valid" else _each(padding, len(size))
    return [m for amount in reversed(amounts) for m in (amount, amount)]


def _in_pairs(convolution: Kernel) -> MappingProxyType[str, Kernel]:
    convolutions = dict.fromkeys((spec.name for spec in CONVOLUTIONS), convolution)
    return MappingProxyType({**KERNELS, **convolutions, "linear": linear_in_pairs})


#: ``KERNELS`` of an x86 CPU without VNNI: ONNX Runtime's.
SATURATING = _in_pairs(convolve_in_pairs)
#: The same of oneDNN, which OpenVINO and Inductor use.
SATURATING_BY_PLACE = _in_pairs(partial(convolve_in_pairs, by_place=True))
_BY_PAIRS = {"filter": SATURATING, "place": SATURATING_BY_PLACE}


def kernels_on(instructions: Instructions, target_name: str) -> Mapping[str, Kernel]:
    """Return what a target's kernels compute on a CPU with these instructions.

    Raises:
        InvalidInputError: unknown instructions or target; the closest name is suggested.

    >>> kernels_on("avx2", "litert") is KERNELS, kernels_on("avx2", "onnxruntime") is SATURATING
    (True, True)
    """
    if instructions not in INSTRUCTIONS:
        raise unknown_name("instructions", instructions, INSTRUCTIONS)
    record = target(target_name).pair_sums
    exact = instructions == "vnni" or not record.can_saturate
    return KERNELS if exact else _BY_PAIRS[record.neighbours]
