"""Max pooling without padding of its own: a border that no maximum sees is one that repeats values.

``max`` over a window does not change when a value of the window is repeated. What a window has
outside of the image, be it padded with -inf or hanging over, is therefore replaced by a value
that every such window holds, which the grid of integers expresses exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, insert, op_name
from qutils.graph.ops import clip_range
from qutils.graph.pads import padded_with
from qutils.graph.picks import pick, spatial

_ATEN = torch.ops.aten
_POOLS = {
    1: _ATEN.max_pool1d.default,
    2: _ATEN.max_pool2d.default,
    3: _ATEN.max_pool3d.default,
}
_SLIDING = frozenset(f"max_pool{n}d{more}" for n in (1, 2, 3) for more in ("", "_with_indices"))
_ADAPTIVE = frozenset(f"adaptive_max_pool{n}d" for n in (1, 2, 3))
#: A constant padding in front of a max pooling that stands for -inf: the lowest float16.
LOWEST = -65504.0

Axis = tuple[list[int], int, int]  # places to pick, then kernel and stride of a plain pooling


def rewrite_maxima(module: GraphModule) -> None:
    """Replace padded, dilated, overhanging and uneven max pooling, in place.

    Pooling that pads equally on both sides and does no more stays as it is. Indices that somebody
    reads keep an operator as it is.
    """
    for node in list(module.graph.nodes):
        if op_name(node) == "getitem" and node.args[1] == 0 and len(node.args[0].users) == 1:
            if op_name(node.args[0]) in _ADAPTIVE | _SLIDING:
                _replace(module, node, node.args[0])
        elif op_name(node) in _SLIDING and not op_name(node).endswith("indices"):
            _replace(module, node, node)


def each(value: Any, like: Sequence[Any]) -> list[int]:
    """Return one number for each axis in space; one that is given stands for all."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(v) for v in (values * len(like) if len(values) == 1 else values)]


def _replace(module: GraphModule, node: Node, pool: Node) -> None:
    """Give the readers of ``node``, which is ``pool`` or its first result, an equal pooling."""
    source: Any = pool.args[0]
    sizes, results = spatial(source), spatial(node)
    if sizes is None or results is None or f"pool{len(sizes)}d" not in op_name(pool):
        return
    axes: list[Axis | None]
    if op_name(pool) in _ADAPTIVE:
        axes = [_adaptive(size, n) for size, n in zip(sizes, results, strict=True)]
    else:
        bare, pads = _bare(source)
        if bare is source and _is_plain(pool, sizes, results):
            return
        source, sizes = bare, spatial(bare) or ()
        kernel, stride, padding, dilation = _settings(pool, sizes)
        before = [p + more for p, more in zip(padding, pads, strict=True)]
        axes = list(map(_sliding, sizes, results, kernel, stride, before, dilation))
    if None in axes:
        return
    places, kernels, strides = (list(found) for found in zip(*axes, strict=True))
    args = (pick(module, node, source, places), kernels, strides)
    new = insert(node, _POOLS[len(axes)], args, node.meta["val"])
    node.replace_all_uses_with(new)
    module.graph.erase_node(node)
    if pool is not node:
        module.graph.erase_node(pool)


def _is_plain(pool: Node, sizes: Sequence[int], results: Sequence[int]) -> bool:
    kernel, stride, padding, dilation = _settings(pool, sizes)
    whole = [
        (n + 2 * p - k) // s + 1 for n, k, s, p in zip(sizes, kernel, stride, padding, strict=True)
    ]
    return whole == list(results) and set(dilation) == {1} and not op_name(pool).endswith("indices")


def _settings(pool: Node, sizes: Sequence[int]) -> list[list[int]]:
    """Kernel, stride, padding and dilation, one number an axis."""
    kernel = each(argument(pool, 1), sizes)
    given = (argument(pool, 2) or kernel, argument(pool, 3, 0), argument(pool, 4, 1))
    return [kernel, *(each(value, sizes) for value in given)]


def _bare(source: Node) -> tuple[Node, list[int]]:
    """What is padded with -inf, and the numbers of values that are in front of each axis."""
    before = [0] * (source.meta["val"].ndim - 2)
    while _is_unseen(source):
        amounts: Any = argument(source, 1)
        for axis in range(len(amounts) // 2):  # the last axis comes first
            before[-1 - axis] += amounts[2 * axis]
        source = source.args[0]  # type: ignore[assignment]
    return source, before


def _is_unseen(node: Node) -> bool:
    """Whether a node pads axes in space with a constant that is below every value it pads."""
    value, amounts = padded_with(node), argument(node, 1)
    if value is None or min(amounts) < 0 or len(amounts) > 2 * (node.meta["val"].ndim - 2):
        return False
    return value <= LOWEST or (value < 0 <= clip_range(node.args[0])[0])  # type: ignore[arg-type]


def _sliding(size: int, results: int, k: int, s: int, before: int, dilation: int) -> Axis | None:
    """One axis of a sliding pooling with ``before`` values missing in front of the image."""
    starts = range(-before, s * results - before, s)
    reads = [range(max(a % dilation, a), min(a + k * dilation, size), dilation) for a in starts]
    if not all(reads):
        return None  # a window reads nothing of the image: its maximum is -inf
    if dilation > 1:
        return _side_by_side(reads)
    stop = max(starts[-1] + k, size)
    return [min(max(place, 0), size - 1) for place in range(-before, stop)], k, s


def _adaptive(size: int, results: int) -> Axis:
    """One axis of an adaptive pooling of ``size`` values to ``results``.

    >>> _adaptive(5, 2)
    ([0, 1, 2, 2, 3, 4], 3, 3)
    """
    return _side_by_side([range(*share(size, results, i)) for i in range(results)])


def share(size: int, results: int, index: int) -> tuple[int, int]:
    """Return begin and end of a window of adaptive pooling of ``size`` values to ``results``."""
    return index * size // results, -(-(index + 1) * size // results)


def _side_by_side(reads: Sequence[range]) -> Axis:
    """Windows one after the other, short ones filled up with their last value."""
    kernel = max(map(len, reads))
    filled = [[*read, *[read[-1]] * (kernel - len(read))] for read in reads]
    return [place for window in filled for place in window], kernel, kernel
