"""Rewrites of a captured graph into the forms that integer kernels know; the numbers stay."""

from __future__ import annotations

import math

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import statically_known_true

from qutils.graph.nodes import argument, clip_range, is_float, op_name


def rewrite(module: GraphModule) -> None:
    """Apply every rewrite to ``module``, in place (it is the capture's own copy)."""
    _replace_spatial_mean(module)
    _restore_flatten(module)
    _replace_views(module)
    _replace_clamp_at_zero(module)
    _channels_last(module)


def _replace_spatial_mean(module: GraphModule) -> None:
    """``mean(x, [2, 3])`` becomes global average pooling, which has integer kernels."""
    graph = module.graph
    for node in list(graph.nodes):
        if op_name(node) != "mean" or not isinstance(argument(node, 1), list | tuple):
            continue
        source = node.args[0]
        axes = sorted(a % 4 for a in node.args[1])
        if not is_float(source) or source.meta["val"].ndim != 4 or axes != [2, 3]:
            continue
        with graph.inserting_before(node):
            pool = graph.call_function(torch.ops.aten.adaptive_avg_pool2d.default, (source, [1, 1]))
            pool.meta = {**node.meta, "val": source.meta["val"].mean((2, 3), keepdim=True)}
            last = pool
            if not argument(node, 2, False):
                last = graph.call_function(torch.ops.aten.flatten.using_ints, (pool, 1))
                last.meta = dict(node.meta)
        node.replace_all_uses_with(last)
        graph.erase_node(node)


def _restore_flatten(module: GraphModule) -> None:
    """``view(x, [N, -1])`` with the batch computed at run time becomes ``flatten(x, 1)``."""
    graph = module.graph
    for node in list(graph.nodes):
        if op_name(node) not in ("view", "reshape", "_unsafe_view") or not is_float(node):
            continue
        source, size = node.args[0], argument(node, 1)
        if not is_float(source) or len(size) != 2 or _op(size[0]) != "sym_size":
            continue
        # After view(x, [-1, C]) the first axis is a multiple of the batch: not this one.
        if not statically_known_true(source.meta["val"].shape[0] == node.meta["val"].shape[0]):
            continue
        with graph.inserting_before(node):
            flat = graph.call_function(torch.ops.aten.flatten.using_ints, (source, 1))
        flat.meta = dict(node.meta)
        node.replace_all_uses_with(flat)
        graph.erase_node(node)


def _op(value: object) -> str:
    return op_name(value) if isinstance(value, Node) else ""


def _replace_views(module: GraphModule) -> None:
    """``view`` becomes ``reshape``, which also takes channels-last activations."""
    for node in module.graph.nodes:
        if op_name(node) in ("view", "_unsafe_view") and is_float(node):
            node.target = torch.ops.aten.reshape.default


def _replace_clamp_at_zero(module: GraphModule) -> None:
    """``clamp(x, min=0)`` without upper bound becomes ``relu``, which kernels absorb."""
    for node in module.graph.nodes:
        if op_name(node) in ("clamp", "clamp_min") and clip_range(node) == (0, math.inf):
            node.target, node.args, node.kwargs = torch.ops.aten.relu.default, node.args[:1], {}


def _channels_last(module: GraphModule) -> None:
    """Filters in channels-last layout: the same numbers, about twice as fast on a CPU."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
