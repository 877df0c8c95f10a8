"""Signal to quantization noise, measured, and the law that predicts it."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from qutils.errors import InvalidInputError

#: What one bit more is worth: ``20 log10(2)`` dB.
DB_PER_BIT = 20 * math.log10(2)


def decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)`` [dB] of two powers; inf without noise, -inf without signal.

    >>> decibels(100.0, 1.0), decibels(0.0, 0.0)
    (20.0, inf)
    """
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def sqnr_db(reference: Tensor, value: Tensor) -> float:
    """``10 log10(sum x^2 / sum (x - y)^2)`` [dB]; x the reference, y what became of it.

    Summed in float64. Exactly equal tensors, zeros too, give inf; a reference of zeros that was
    not met gives -inf.

    Raises:
        InvalidInputError: different shapes, no values, or NaN or Inf in either.

    >>> import torch
    >>> sqnr_db(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.5]))
    20.0
    """
    if reference.shape != value.shape or reference.numel() == 0:
        raise InvalidInputError(
            f"tensors of shape {list(reference.shape)} and {list(value.shape)} cannot be compared: "
            "give two of one shape with at least one value"
        )
    x, y = reference.detach().double(), value.detach().double()
    signal, noise = float(x.square().sum()), float((x - y).square().sum())
    if not (math.isfinite(signal) and math.isfinite(noise)):
        raise InvalidInputError("SQNR of NaN or Inf is undefined: look for them in both tensors")
    return decibels(signal, noise)


def predicted_sqnr_db(
    bits: int,
    source: Literal["uniform", "gaussian"] = "uniform",
    clip: float = 4.0,
    *,
    symmetric: bool = False,
) -> float:
    """What theory expects of ``bits``: 6.02 dB more with each.

    A step ``s`` leaves an error spread evenly over ``-s/2 .. s/2``, of power ``s^2 / 12``.

    - uniform over the whole range of ``L`` steps: ``20 log10(L)``, 6.02 dB a bit;
    - gaussian, clipped at ``c`` standard deviations, ``s = 2c / L``:
      ``-10 log10(s^2 / 12 * P(|x| < c) + 2 ((1 + c^2) Q(c) - c phi(c)))``, the second term being
      what is clipped; at ``c = 4`` it is 6.02 b - 7.27 until that noise shows.

    ``L = 2^bits - 1``, one less for a symmetric scheme. Holds for steps small against the spread
    of the values, from about 3 bits on.

    Args:
        clip: end of the range in standard deviations; gaussian only.

    Raises:
        InvalidInputError: less than 2 bits, unknown source, clip not above 0.
    Source: Bennett 1948, "Spectra of Quantized Signals"; Jayant and Noll 1984, "Digital Coding of
        Waveforms", section 4; Gray and Neuhoff 1998, "Quantization".

    >>> round(predicted_sqnr_db(8), 1), round(predicted_sqnr_db(8, "gaussian"), 1)
    (48.1, 40.5)
    """
    if bits < 2 or clip <= 0:
        raise InvalidInputError(f"bits must be at least 2 and clip above 0: got {bits}, {clip}")
    steps = (1 << bits) - (2 if symmetric else 1)
    if source == "uniform":
        return 20 * math.log10(steps)
    if source != "gaussian":
        raise InvalidInputError(f"unknown source {source!r}: choose from uniform, gaussian")
    beyond = math.erfc(clip / math.sqrt(2)) / 2  # Q(c)
    density = math.exp(-clip * clip / 2) / math.sqrt(2 * math.pi)
    rounding = (2 * clip / steps) ** 2 / 12 * (1 - 2 * beyond)
    clipping = 2 * ((1 + clip * clip) * beyond - clip * density)
    return decibels(1.0, rounding + clipping)
