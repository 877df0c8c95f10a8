"""What a grid leaves to each output channel of a weight: integers, effective bits, SQNR."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.numerics import affine, observers
from qutils.numerics.affine import QParams
from qutils.numerics.schemes import Scheme
from qutils.quantize.calibration import fit_groups


@dataclass(frozen=True)
class Channels:
    """A quantized weight ``[C, ...]``, channel by channel; float64 ``[C]`` each.

    ``effective_bits`` is ``log2`` of the number of integers between those that the channel's
    lowest and highest weight become, zero included: how many bits of the grid it really gets.
    Per group, the mean over its groups.
    """

    low: Tensor
    high: Tensor
    effective_bits: Tensor
    sqnr_db: Tensor  # 10 log10(sum w^2 / sum (w - w_q)^2); inf where nothing is lost


def channel_ranges(weight: Tensor) -> Tensor:
    """``max |w|`` of each output channel: ``[C, ...] -> [C]``.

    >>> channel_ranges(torch.tensor([[1.0, -4.0], [0.5, 0.25]])).tolist()
    [4.0, 0.5]
    """
    return weight.detach().abs().flatten(1).amax(dim=1)


def range_spread(weight: Tensor) -> float:
    """``max_c r_c / median_c r_c`` with ``r = channel_ranges(weight)``; 1 if all are equal.

    One scale for all channels has to reach the widest; the channel in the middle then loses
    ``log2(spread)`` bits of it.

    Raises:
        InvalidInputError: more than half of the channels are all zero.
    Source: Nagel et al. 2019, arXiv:1906.04721, section 3.1 (there ``r_c / max r``, "precision").

    >>> range_spread(torch.tensor([[8.0], [1.0], [-2.0]]))
    4.0
    """
    ranges = channel_ranges(weight)
    middle = float(ranges.quantile(0.5))
    if middle == 0:
        raise InvalidInputError("most channels are all zero: their ranges cannot be compared")
    return float(ranges.max()) / middle


def weight_qparams(weight: Tensor, scheme: Scheme) -> QParams:
    """Scale and zero point of a weight ``[C, ...]``, as calibration derives them.

    A group size that does not divide a filter shrinks to one that does.

    Raises:
        InvalidInputError: NaN or Inf in the weight, or a scheme that leaves its sign open.

    >>> scheme = Scheme(4, signed=True, symmetric=True, granularity="per_channel")
    >>> weight_qparams(torch.tensor([[7.0, 1.0], [-14.0, 2.0]]), scheme).scale
    tensor([1., 2.])
    """
    if scheme.signed is None or scheme.symmetric is None:
        raise InvalidInputError("set signed and symmetric: only in a Recipe have they defaults")
    scheme = fit_groups(scheme, weight[0].numel())
    axis = None if scheme.granularity == "per_tensor" else 0
    rows = observers.rows_of(weight, axis, scheme.group_size)
    return observers.qparams_of(rows, scheme, axis)


def channels_of(weight: Tensor, q: QParams) -> Channels:
    """Quantize a weight ``[C, ...]`` with any granularity and look at each output channel.

    >>> q = QParams(torch.tensor(1.0), torch.tensor(0), -127, 127)
    >>> found = channels_of(torch.tensor([[100.0, -27.0], [3.0, 1.0]]), q)
    >>> found.effective_bits.tolist(), found.sqnr_db.tolist()
    ([7.0, 2.0], [inf, inf])
    """
    weight = weight.detach().float()
    w = weight.flatten(1).double()  # [C, n]
    error = affine.fake_quantize(weight, q).flatten(1).double() - w
    low, high = w.aminmax(dim=1)
    noise, signal = error.square().sum(dim=1), w.square().sum(dim=1)
    sqnr = torch.where(noise > 0, 10 * torch.log10(signal / noise), torch.inf)
    return Channels(low, high, _effective_bits(weight, q), sqnr)


def _effective_bits(weight: Tensor, q: QParams) -> Tensor:
    """``log2(q(high) - q(low) + 1)``; a group's range, like a channel's, contains zero."""
    zero_point = affine.expand(q.zero_point, weight, q.axis, q.group_size)
    integers = (affine.quantize(weight, q) - zero_point).flatten(1)  # [C, n], zero is 0
    pieces = integers.reshape(len(weight), -1, q.group_size or integers.shape[1])  # [C, G, n / G]
    top, bottom = pieces.amax(dim=2).clamp(min=0), pieces.amin(dim=2).clamp(max=0)
    return torch.log2((top - bottom + 1).double()).mean(dim=1)
