"""Operators that select, repeat, arrange or add up few values, by what every backend has.

Integers stay integers: a slice, a gather, a concatenation or a permutation keeps the scale of what
it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, constant, insert, is_float, op_name
from qutils.graph.picks import along

_ATEN = torch.ops.aten
#: Number of axes of a batch of feature maps, and of branches that are added one by one.
_MAP, _FEW = 4, 4
#: Gives the node that replaces another, or None where an axis it works on is open.
_Rewrite = Callable[[GraphModule, Node], Node | None]


def rewrite_moves(module: GraphModule) -> None:
    """Apply every rewrite of this file to ``module``, in place."""
    for node in list(module.graph.nodes):
        if op_name(node) == "unbind":
            _unbind(module, node)
        rewrite = _REWRITES.get(op_name(node))
        if rewrite is None or not is_float(node):
            continue
        made = rewrite(module, node)
        if made is not None and made is not node:
            node.replace_all_uses_with(made)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()


def only_moves(node: Node) -> bool:
    """Return True if a node selects, repeats or arranges values and computes nothing.

    One that is still in a graph after ``rewrite_moves`` works on an open axis, on the batch, or by
    places that the network computes.
    """
    return op_name(node) in _MOVES


def _sizes(node: Any) -> list[Any]:
    return list(node.meta["val"].shape)


def _axis(node: Node, axis: int) -> int | None:
    """A counted-up axis that is not the batch and whose size is known; None otherwise."""
    sizes = _sizes(node)
    axis %= len(sizes)
    return axis if axis > 0 and isinstance(sizes[axis], int) else None


def _select(module: GraphModule, node: Node) -> Node | None:
    """``x[:, i]``: a slice of one, without its axis."""
    source: Any = node.args[0]
    axis, index = _axis(source, int(argument(node, 1))), argument(node, 2)
    if axis is None or not isinstance(index, int):
        return None
    return _item(node, source, axis, index % _sizes(source)[axis])


def _item(before: Node, source: Node, axis: int, index: int) -> Node:
    value = source.meta["val"].narrow(axis, index, 1)
    one = insert(before, _ATEN.slice.Tensor, (source, axis, index, index + 1), value)
    return insert(before, _ATEN.squeeze.dim, (one, axis), value.squeeze(axis))


def _sum(module: GraphModule, node: Node) -> Node | None:
    """A sum of few feature maps, as branches that attention weighs: additions have kernels."""
    source: Any = node.args[0]
    axes = argument(node, 1)
    if not is_float(source) or not isinstance(axes, list | tuple) or len(axes) != 1 or node.kwargs:
        return None
    axis = _axis(source, int(axes[0]))
    sizes = _sizes(source)
    inner = axis is not None and len(sizes) > _MAP and axis < len(sizes) - 2
    if axis is None or not inner or not 1 < sizes[axis] <= _FEW:
        return None
    items = [_item(node, source, axis, index) for index in range(sizes[axis])]
    made = items[0]
    for item in items[1:]:
        made = insert(node, _ATEN.add.Tensor, (made, item), made.meta["val"])
    if argument(node, 2, False):
        made = insert(node, _ATEN.unsqueeze.default, (made, axis), node.meta["val"])
    return made


def _unbind(module: GraphModule, node: Node) -> None:
    source: Any = node.args[0]
    axis = _axis(source, int(argument(node, 1, 0)))
    if axis is None or not is_float(source):
        return
    for user in list(node.users):
        if op_name(user) == "getitem":
            user.replace_all_uses_with(_item(user, source, axis, int(user.args[1])))  # type: ignore[arg-type]
            module.graph.erase_node(user)


def _flip(module: GraphModule, node: Node) -> Node | None:
    return _indexed(module, node, argument(node, 1), lambda size, place: range(size)[::-1])


def _roll(module: GraphModule, node: Node) -> Node | None:
    shifts = _many(argument(node, 1))
    axes = _many(argument(node, 2, []))
    if not axes or not all(isinstance(shift, int) for shift in shifts):
        return None  # of all values in one row, or by a number computed when the graph runs
    return _indexed(
        module,
        node,
        axes,
        lambda size, place: [(index - shifts[place]) % size for index in range(size)],
    )


def _repeat(module: GraphModule, node: Node) -> Node | None:
    source: Any = node.args[0]
    times, sizes = list(argument(node, 1)), _sizes(source)
    if len(times) != len(sizes):
        return None
    if not all(isinstance(n, int) for n in times):  # as often as there are samples, say
        if any(n != 1 and size != 1 for n, size in zip(times, sizes, strict=True)):
            return None
        shape = [-1 if isinstance(n, int) and n == 1 else n for n in times]
        return insert(node, _ATEN.expand.default, (source, shape), node.meta["val"])
    axes = [axis for axis, n in enumerate(times) if n != 1]
    return _indexed(module, node, axes, lambda size, place: list(range(size)) * times[axes[place]])


def _indexed(
    module: GraphModule,
    node: Node,
    axes: Sequence[int],
    indices: Callable[[int, int], Sequence[int]],
) -> Node | None:
    """A gather along each axis, by indices that follow from its size."""
    source: Any = node.args[0]
    places = [_axis(source, axis) for axis in axes]
    if any(place is None for place in places):
        return None
    made: Node = source
    for number, place in enumerate(places):
        assert place is not None
        chosen = list(indices(_sizes(made)[place], number))
        if not chosen:
            return None
        made = along(module, node, made, place, chosen)
    return made


def _index(module: GraphModule, node: Node) -> Node | None:
    """``x[:, [3, 0]]`` with one stored row of indices."""
    source: Any = node.args[0]
    chosen = [(axis, index) for axis, index in enumerate(argument(node, 1)) if index is not None]
    if len(chosen) != 1:
        return None
    axis, rows = _axis(source, chosen[0][0]), constant(module, chosen[0][1])
    if axis is None or rows is None or rows.ndim != 1 or rows.dtype != torch.int64 or not len(rows):
        return None
    size = _sizes(source)[axis]
    return along(module, node, source, axis, [int(row) % size for row in rows])


def _stack(module: GraphModule, node: Node) -> Node | None:
    parts: Any = node.args[0]
    axis = int(argument(node, 1, 0)) % len(_sizes(node))
    if axis == 0:
        return None
    wide = [
        insert(node, _ATEN.unsqueeze.default, (part, axis), part.meta["val"].unsqueeze(axis))
        for part in parts
    ]
    return insert(node, _ATEN.cat.default, (wide, axis), node.meta["val"])


def _pixel_unshuffle(module: GraphModule, node: Node) -> Node | None:
    """``[N, C, H r, W r] -> [N, C r r, H, W]``."""
    factor = int(argument(node, 1))
    sizes, results = _sizes(node.args[0])[1:], _sizes(node)[1:]
    if len(sizes) != 3 or not all(isinstance(size, int) for size in sizes):
        return None
    channels, height, width = sizes
    apart = [channels, height // factor, factor, width // factor, factor]
    return _rearranged(node, apart, [0, 1, 3, 5, 2, 4], results)


def _channel_shuffle(module: GraphModule, node: Node) -> Node | None:
    groups = int(argument(node, 1))
    sizes = _sizes(node.args[0])[1:]
    if not all(isinstance(size, int) for size in sizes):
        return None
    space = math.prod(sizes[1:])
    apart = [groups, sizes[0] // groups, space]
    return _rearranged(node, apart, [0, 2, 1, 3], sizes)


def _rearranged(
    node: Node, apart: Sequence[int], order: Sequence[int], results: Sequence[int]
) -> Node:
    """Reshape to ``[N, *apart]``, permute, reshape to ``[N, *results]``."""
    value = node.meta["val"]
    wide = value.new_empty([value.shape[0], *apart])
    made = insert(node, _ATEN.reshape.default, (node.args[0], [-1, *apart]), wide)
    made = insert(node, _ATEN.permute.default, (made, list(order)), wide.permute(*order))
    return insert(node, _ATEN.reshape.default, (made, [-1, *results]), value)


def _many(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


_REWRITES: dict[str, _Rewrite] = {
    "select": _select,
    "sum": _sum,
    "flip": _flip,
    "roll": _roll,
    "repeat": _repeat,
    "index": _index,
    "stack": _stack,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
}
#: Operators that compute nothing; those that are split or taken apart are rewritten elsewhere.
_MOVES = (_REWRITES.keys() - {"sum"}) | {
    *("unbind", "split", "split_with_sizes", "gather", "diagonal"),
}
