"""Values that no input is needed for, but whose size differs with the open axes.

Positions count from 0 to the length, masks and states are filled with one number: they are made
anew for the sizes that come.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qutils.importers.onnx.values import Value


def is_uniform(value: Value) -> bool:
    """Return True if all elements are equal, at every probe."""
    one = value.probes[0].reshape(-1)[:1]
    return one.numel() > 0 and all(bool((probe == one).all()) for probe in value.probes)


def numbered_axis(value: Value) -> int | None:
    """Return the axis along which elements count from 0, the others alike; None if none does."""
    for axis in range(value.ndim):
        if all(
            probe.shape[axis] > 1 and torch.equal(probe, numbers(probe.shape, axis, probe.dtype))
            for probe in value.probes
        ):
            return axis
    return None


def numbers(sizes: Sequence[int], axis: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor of these sizes that counts from 0 along an axis.

    >>> numbers([2, 3], 1, torch.int64)
    tensor([[0, 1, 2],
            [0, 1, 2]])
    """
    alone = [-1 if i == axis else 1 for i in range(len(sizes))]
    return torch.arange(sizes[axis], dtype=dtype).reshape(alone).expand(list(sizes))


def spread(value: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return a tensor of these sizes, every element ``value``."""
    return value.expand(list(sizes))
