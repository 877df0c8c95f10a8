"""Integers of any width in as few bytes as hold them, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from qutils.errors import DataError, InvalidInputError
from qutils.numerics.schemes import MAX_BITS


def pack(integers: Tensor, bits: int) -> Tensor:
    """Pack integers ``[...]`` into ``uint8 [ceil(bits n / 8)]``, the least significant bit first.

    Value i takes the bits ``i bits .. (i + 1) bits - 1`` of the stream, as two's complement, so
    ``-8..7`` and ``0..15`` both fit into 4 bits.

    Raises:
        InvalidInputError: bits outside 1..8, floats, or a value that does not fit.

    >>> pack(torch.tensor([1, -1, 7]), bits=4).tolist()
    [241, 7]
    """
    _check_bits(bits)
    if integers.dtype.is_floating_point:
        raise InvalidInputError(f"integers are packed, got {integers.dtype}: quantize first")
    values = integers.detach().cpu().reshape(-1).to(torch.int16).numpy()
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    fits = -(1 << (bits - 1)) <= low and high < (1 << (bits - 1)) if low < 0 else high < 1 << bits
    if not fits:
        raise InvalidInputError(f"{low}..{high} does not fit into {bits} bits")
    planes = (values[:, None] >> np.arange(bits)) & 1  # [n, bits]
    return torch.from_numpy(np.packbits(planes.astype(np.uint8), bitorder="little"))


def unpack(packed: Tensor, bits: int, shape: Sequence[int], *, signed: bool = True) -> Tensor:
    """The integers ``[*shape]`` (int16) behind ``pack``; ``signed`` reads two's complement.

    Raises:
        InvalidInputError: bits outside 1..8.
        DataError: not as many bytes as the shape takes.

    >>> unpack(pack(torch.tensor([1, -1, 7]), bits=4), bits=4, shape=[3]).tolist()
    [1, -1, 7]
    """
    _check_bits(bits)
    count = int(np.prod(shape, dtype=np.int64))
    if packed.dtype != torch.uint8 or packed.numel() != packed_bytes(count, bits):
        raise DataError(
            f"{count:,} values of {bits} bits take {packed_bytes(count, bits):,} bytes, there are "
            f"{packed.numel():,} of {packed.dtype}"
        )
    planes = np.unpackbits(packed.cpu().numpy(), count=count * bits, bitorder="little")
    weights = 1 << np.arange(bits, dtype=np.int16)
    if signed:
        weights[-1] = -weights[-1]
    values = planes.reshape(count, bits).astype(np.int16) @ weights
    return torch.from_numpy(values.astype(np.int16)).reshape(*shape)


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of ``count`` packed values: ``ceil(bits count / 8)``."""
    return -(-bits * count // 8)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise InvalidInputError(f"1 to {MAX_BITS} bits are packed, not {bits}")
