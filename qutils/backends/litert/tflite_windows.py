"""Windows that slide over a picture: sizes for two axes, and padding in the format's own words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from qutils.backends.litert.tflite_values import Value, Writer, unsupported

Pads = Sequence[tuple[int, int]]  # before and after, of each spatial axis
_SAME, _VALID = 0, 1  # of the format's Padding


def with_height(w: Writer, value: Value) -> Value:
    """``[N, C, L] -> [N, C, 1, L]``, channels last: one axis in space becomes two."""
    value = w.arranged(value, last=True)
    if len(value.shape) == 4:
        return value
    return w.reshaped(value, (*value.shape[:2], 1, value.shape[2]), last=True)


def without_height(w: Writer, value: Value, shape: tuple[int, ...]) -> Value:
    """Back to the shape that the graph has."""
    return value if len(shape) == 4 else w.reshaped(value, shape, last=True)


def padded(
    w: Writer,
    x: Value,
    window: Sequence[int],
    stride: Sequence[int],
    pads: Pads,
    fill: NDArray[Any] | None = None,
) -> tuple[Value, int]:
    """The value and the format's padding: SAME where it is what is asked, else PAD and VALID.

    Args:
        fill: the value around, ``[1]``; real zeros if None.
    """
    if not any(before or after for before, after in pads):
        return x, _VALID
    sizes = x.shape[2:]
    if all(_same(*axis) == p for *axis, p in zip(sizes, window, stride, pads, strict=True)):
        return x, _SAME
    amounts = np.array([(0, 0), *pads, (0, 0)], np.int32)
    shape = (*x.shape[:2], *(n + sum(p) for n, p in zip(sizes, pads, strict=True)))
    inputs = [x.tensor, w.flat.constant(amounts)]
    code, options = "PAD", "PadOptions"
    if fill is not None:
        inputs.append(w.flat.constant(fill, x.grid))
        code, options = "PADV2", "PadV2Options"
    return w.emit(code, inputs, shape, x.grid, options, last=True), _VALID


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return what the format's SAME adds before and after."""
    total = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def conv_pads(padding: Any, dilation: Any, kernel: Sequence[int]) -> Pads:
    """Padding of a convolution, ``"same"`` and ``"valid"`` included, for two axes."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(each(dilation, kernel), kernel, strict=True)]
        return two([(t // 2, t - t // 2) for t in totals], (0, 0))
    return two([(p, p) for p in each(padding, kernel)], (0, 0))


def planned(
    w: Writer, node: Node, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, ...]:
    """The pooled shape, if windows that hang over the border do not count."""
    source, shape = w.read(node.args[0]).shape, w.shapes[node.name]
    places = zip(source[2:], kernel, stride, padding, strict=True)
    whole = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in places)
    if whole != shape[2:]:
        raise unsupported(node, "with ceil_mode its last window hangs over the border")
    return shape


def each(value: Any, like: Sequence[int]) -> list[int]:
    """One number for each axis in space."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(v) for v in (values * len(like) if len(values) == 1 else values)]


def two(values: Sequence[Any], neutral: Any) -> list[Any]:
    """For two axes in space: a missing height is ``neutral``."""
    return [neutral] * (2 - len(values)) + list(values)
