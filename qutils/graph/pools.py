"""Pooling in the forms that integer kernels know; the numbers stay."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, insert, is_float, op_name

_ATEN = torch.ops.aten
_AVERAGES = {
    "adaptive_avg_pool1d": _ATEN.avg_pool1d.default,
    "adaptive_avg_pool2d": _ATEN.avg_pool2d.default,
}
_MAXIMA = {
    "adaptive_max_pool1d": _ATEN.max_pool1d.default,
    "adaptive_max_pool2d": _ATEN.max_pool2d.default,
}


def rewrite_pools(module: GraphModule) -> None:
    """Apply every rewrite of pooling to ``module``, in place."""
    for node in list(module.graph.nodes):
        op = op_name(node)
        if op == "mean":
            _replace_spatial_mean(module, node)
        elif op in _AVERAGES:
            _replace_even_average(module, node)
        elif op == "getitem" and op_name(node.args[0]) in _MAXIMA:
            _replace_even_maximum(module, node)


def _replace_spatial_mean(module: GraphModule, node: Node) -> None:
    """``mean(x, [2, 3])``, and ``mean(x, 2)`` of ``[N, C, L]``, become global average pooling."""
    source: Any = node.args[0]
    axes = argument(node, 1)
    if not is_float(source) or not isinstance(axes, list | tuple):
        return
    value = source.meta["val"]
    if value.ndim not in (3, 4) or sorted(a % value.ndim for a in axes) != [2, 3][: value.ndim - 2]:
        return
    if value.ndim == 3:  # [N, C, L] -> [N, C, 1, L]
        value = value.unsqueeze(2)
        source = insert(node, _ATEN.unsqueeze.default, (source, 2), value)
    value = value.mean((2, 3), keepdim=True)
    last = insert(node, _ATEN.adaptive_avg_pool2d.default, (source, [1, 1]), value)
    wanted = node.meta["val"]
    if wanted.ndim == 2:
        last = insert(node, _ATEN.flatten.using_ints, (last, 1), wanted)
    elif wanted.ndim == 3:
        last = insert(node, _ATEN.squeeze.dim, (last, 2), wanted)
    node.replace_all_uses_with(last)
    module.graph.erase_node(node)


def _windows(node: Node) -> list[int] | None:
    """Sides of the windows of an adaptive pooling, where all are alike."""
    sizes, source = argument(node, 1), node.args[0]
    shape = source.meta["val"].shape[2:]  # type: ignore[union-attr]
    if not all(isinstance(n, int) for n in (*shape, *sizes)):
        return None
    if any(side % size for side, size in zip(shape, sizes, strict=True)):
        return None
    return [side // size for side, size in zip(shape, sizes, strict=True)]


def _replace_even_average(module: GraphModule, node: Node) -> None:
    """Adaptive average pooling to a part of the size becomes average pooling, or nothing."""
    windows = _windows(node)
    op = op_name(node)
    if windows is None or (op == "adaptive_avg_pool2d" and set(argument(node, 1)) == {1}):
        return  # global average pooling has a kernel of its own
    if set(windows) == {1}:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        module.graph.erase_node(node)
        return
    node.target, node.args = _AVERAGES[op], (node.args[0], windows, windows)


def _replace_even_maximum(module: GraphModule, node: Node) -> None:
    """Adaptive max pooling whose indices nobody reads becomes max pooling."""
    pool: Any = node.args[0]
    windows = _windows(pool)
    if windows is None or node.args[1] != 0 or len(pool.users) != 1:
        return
    args = (pool.args[0], windows, windows)
    node.replace_all_uses_with(insert(node, _MAXIMA[op_name(pool)], args, node.meta["val"]))
    module.graph.erase_node(node)
    module.graph.erase_node(pool)
