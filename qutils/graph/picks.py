"""Operators that pick values by position, written as gathers with constant indices.

Nearest upsampling samples by the factor that it was given, backends by the ratio of sizes: the two
pick other pixels where the factor is fractional. Indices, which PyTorch itself is asked for, leave
no choice, and a gather of integers is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, insert, op_name

_ATEN = torch.ops.aten
_NEAREST = frozenset(
    f"{kind}{axes}d"
    for kind in ("upsample_nearest", "_upsample_nearest_exact")
    for axes in (1, 2, 3)
)
#: Modes of padding that repeat values; ``reflect`` and ``replicate`` have kernels of their own.
_REPEATS = ("circular",)


def rewrite_picks(module: GraphModule) -> None:
    """Replace nearest upsampling and circular padding by forms that pick the same, in place."""
    for node in list(module.graph.nodes):
        op = op_name(node)
        if op in _NEAREST:
            _replace(module, node, may_enlarge=True)
        elif _repeats(node):
            _replace(module, node, may_enlarge=False)


def _repeats(node: Node) -> bool:
    """Whether a node pads by repeating values in a way that not every backend has."""
    mode = argument(node, 2, "constant") if op_name(node) == "pad" else "constant"
    return mode != "constant" and (mode in _REPEATS or min(argument(node, 1)) < 0)


def spatial(node: Node) -> tuple[int, ...] | None:
    """Sizes of the axes after ``[N, C]`` of a node's value; None where one is open."""
    sizes = node.meta["val"].shape[2:]
    return tuple(sizes) if all(isinstance(size, int) for size in sizes) else None


def pick(module: GraphModule, before: Node, source: Node, picks: Sequence[Sequence[int]]) -> Node:
    """Return a node ``[N, C, ...]`` that takes ``picks[i]`` along axis ``2 + i`` of ``source``."""
    for axis, indices in enumerate(picks, start=2):
        source = along(module, before, source, axis, list(indices))
    return source


def stored(module: GraphModule, before: Node, stem: str, value: Tensor) -> Node:
    """Return a new node that reads ``value``, stored as a buffer named after ``stem``."""
    name = next(name for n in count() if not hasattr(module, name := f"{stem}_{n}"))
    module.register_buffer(name, value)
    with before.graph.inserting_before(before):
        node = before.graph.get_attr(name)
    node.meta["val"] = value
    return node


def _replace(module: GraphModule, node: Node, may_enlarge: bool) -> None:
    source: Any = node.args[0]
    sizes = spatial(source)
    if sizes is None:
        return
    picks = _picks(node, sizes)
    factors = [_factor(indices, size) for indices, size in zip(picks, sizes, strict=True)]
    if may_enlarge and len(sizes) == 2 and all(factors):
        args = (source, None, [float(factor or 1) for factor in factors])
        node.target, node.args, node.kwargs = _ATEN.upsample_nearest2d.vec, args, {}
        return
    node.replace_all_uses_with(pick(module, node, source, picks))
    module.graph.erase_node(node)


def _picks(node: Node, sizes: Sequence[int]) -> list[list[int]]:
    """The index along each axis that every output takes: the node's operator run on indices."""
    found = []
    for axis, size in enumerate(sizes):
        shape = [1] * (2 + len(sizes))
        shape[2 + axis] = size
        places = torch.arange(size, dtype=torch.float32).reshape(shape).expand(1, 1, *sizes)
        moved: Tensor = node.target(places.contiguous(), *node.args[1:], **node.kwargs)  # type: ignore[operator]
        line = moved.movedim(2 + axis, -1).reshape(-1, moved.shape[2 + axis])[0]
        found.append([int(place) for place in line])
    return found


def _factor(indices: Sequence[int], size: int) -> int | None:
    """The whole number of times that each of ``size`` values is repeated; None if it is not one."""
    factor = len(indices) // size
    return factor if list(indices) == [i // factor for i in range(factor * size)] else None


def along(module: GraphModule, before: Node, source: Node, axis: int, indices: list[int]) -> Node:
    """Return a node that takes ``indices`` along one axis: a slice where they are evenly spaced."""
    size = source.meta["val"].shape[axis]
    if indices == list(range(size)):
        return source
    shape = list(source.meta["val"].shape)
    shape[axis] = len(indices)
    value = source.meta["val"].new_empty(shape)
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if step > 0 and indices == list(range(indices[0], indices[-1] + 1, step)):
        args: tuple[Any, ...] = (source, axis, indices[0], indices[-1] + 1, step)
        return insert(before, _ATEN.slice.Tensor, args, value)
    places = stored(module, before, "picked", torch.tensor(indices))
    return insert(before, _ATEN.index_select.default, (source, axis, places), value)
