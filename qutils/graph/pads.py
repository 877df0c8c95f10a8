"""Padding with a number other than 0: zeros, which keep their scale, and a sum."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, insert, op_name
from qutils.graph.picks import stored

_ATEN = torch.ops.aten


def rewrite_pads(module: GraphModule) -> None:
    """``pad(x, value)`` becomes ``pad(x, 0) + border``, in place.

    The border is a stored tensor, ``value`` around and 0 inside, with a range of its own; the sum
    has one that holds both.
    """
    for node in list(module.graph.nodes):
        value = padded_with(node)
        if value is None:
            continue
        if min(argument(node, 1)) < 0:
            _cut(module, node)
        if value != 0 and math.isfinite(value):
            _replace(module, node, value)


def _cut(module: GraphModule, node: Node) -> None:
    """What is padded by less than nothing becomes a slice in front of the padding."""
    source: Any = node.args[0]
    amounts: list[int] = list(argument(node, 1))
    for index in range(len(amounts) // 2):
        value = source.meta["val"]
        axis = value.ndim - 1 - index
        begin, end = (max(-amount, 0) for amount in amounts[2 * index : 2 * index + 2])
        size = value.shape[axis]
        if begin or end:
            if not isinstance(size, int):
                return
            made = value.narrow(axis, begin, size - begin - end)
            args = (source, axis, begin, size - end)
            source = insert(node, _ATEN.slice.Tensor, args, made)
    node.args = (source, [max(amount, 0) for amount in amounts], *node.args[2:])


def padded_with(node: Node) -> float | None:
    """Return the constant that a node pads with; None if it does not."""
    if op_name(node) == "pad" and argument(node, 2, "constant") == "constant":
        return float(argument(node, 3) or 0)
    if op_name(node) == "constant_pad_nd":
        return float(argument(node, 2, 0))
    return None


def _replace(module: GraphModule, node: Node, value: float) -> None:
    source: Any = node.args[0]
    amounts: Any = argument(node, 1)
    sizes = list(source.meta["val"].shape[1:])
    if not all(isinstance(n, int) for n in sizes) or any(amounts[2 * len(sizes) :]):
        return  # the batch is padded, or an axis is open
    for axis in range(len(sizes)):
        if not any(amounts[2 * axis : 2 * axis + 2]):
            sizes[-1 - axis] = 1
    border = stored(module, node, "border", F.pad(torch.zeros(1, *sizes), amounts, value=value))
    args = (source, amounts, 0.0)
    zeros = insert(node, _ATEN.constant_pad_nd.default, args, node.meta["val"])
    node.replace_all_uses_with(insert(node, _ATEN.add.Tensor, (zeros, border), node.meta["val"]))
    module.graph.erase_node(node)
