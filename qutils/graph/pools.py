"""Pooling in the forms that integer kernels know; the numbers stay."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.graph.averages import rewrite_averages
from qutils.graph.maxima import rewrite_maxima
from qutils.graph.nodes import argument, insert, is_float, op_name

_ATEN = torch.ops.aten


def rewrite_pools(module: GraphModule) -> None:
    """Apply every rewrite of pooling to ``module``, in place."""
    for node in list(module.graph.nodes):
        if op_name(node) == "mean":
            _replace_spatial_mean(module, node)
        elif op_name(node) == "adaptive_avg_pool3d" and set(argument(node, 1)) == {1}:
            axes = (node.args[0], [2, 3, 4], True)
            node.target, node.args = _ATEN.mean.dim, axes
            _replace_spatial_mean(module, node)
    rewrite_maxima(module)
    rewrite_averages(module)


def _replace_spatial_mean(module: GraphModule, node: Node) -> None:
    """The mean over all axes in space, one to three, becomes global average pooling."""
    source: Any = node.args[0]
    axes = argument(node, 1)
    if not is_float(source) or not isinstance(axes, list | tuple):
        return
    value = source.meta["val"]
    if value.ndim not in (3, 4, 5):
        return
    if sorted(axis % value.ndim for axis in axes) != list(range(2, value.ndim)):
        return
    if value.ndim == 5:
        source = flat(node, source)
        value = source.meta["val"]
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
    elif wanted.ndim == 5:
        last = insert(node, _ATEN.unsqueeze.default, (last, 2), wanted)
    node.replace_all_uses_with(last)
    module.graph.erase_node(node)


def flat(node: Node, source: Node) -> Node:
    """``[N, C, D, H, W] -> [N, C, D H, W]``, in front of ``node``."""
    value = source.meta["val"].flatten(2, 3)
    return insert(node, _ATEN.reshape.default, (source, [-1, *value.shape[1:]]), value)
