"""Rewrites of a captured graph into the forms that integer kernels know; the numbers stay."""

from __future__ import annotations

import math

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import statically_known_true

from qutils.graph.activations import rewrite_activations
from qutils.graph.attention import drop_idle_masks
from qutils.graph.einsums import rewrite_einsums
from qutils.graph.moves import rewrite_moves
from qutils.graph.nodes import argument, insert, is_float, op_name
from qutils.graph.ops import clip_range
from qutils.graph.pads import rewrite_pads
from qutils.graph.picks import rewrite_picks
from qutils.graph.pools import rewrite_pools
from qutils.graph.products import rewrite_products
from qutils.graph.scalars import rewrite_scalars
from qutils.graph.transposed import rewrite_transposed

_ATEN = torch.ops.aten
#: What only picks or arranges values: ``clip(move(x)) = move(clip(x))``.
_MOVES = ("max_pool1d", "max_pool2d", "max_pool3d", "flatten", "reshape", "index_select")


def rewrite(module: GraphModule) -> None:
    """Apply every rewrite to ``module``, in place (it is the capture's own copy)."""
    rewrite_activations(module)
    rewrite_einsums(module)
    rewrite_moves(module)
    rewrite_picks(module)
    rewrite_pools(module)
    rewrite_transposed(module)
    rewrite_pads(module)
    drop_idle_masks(module)
    rewrite_products(module)
    rewrite_scalars(module)
    _replace_splits(module)
    _replace_silu(module)
    _linear_on_rows(module)
    _restore_flatten(module)
    _replace_views(module)
    _replace_clamp_at_zero(module)
    _hoist_clips(module)
    _channels_last(module)


def _linear_on_rows(module: GraphModule) -> None:
    """A linear layer on ``[N, ..., C]`` becomes one on the rows ``[N * ..., C]``."""
    graph = module.graph
    for node in [n for n in graph.nodes if op_name(n) == "linear"]:
        source, value = node.args[0], node.meta["val"]
        inner = [*source.meta["val"].shape[1:-1], value.shape[-1]]
        if value.ndim < 3 or not isinstance(inner[-1], int):
            continue
        rows = source.meta["val"].flatten(0, -2)
        args = (source, [-1, node.args[1].meta["val"].shape[-1]])  # of the weight: never open
        node.replace_input_with(source, insert(node, torch.ops.aten.reshape.default, args, rows))
        node.meta = {**node.meta, "val": value.flatten(0, -2)}
        back = insert(node.next, torch.ops.aten.reshape.default, (node, [-1, *inner]), value)
        back.meta = {**node.meta, "val": value}
        node.replace_all_uses_with(back, delete_user_cb=lambda user, back=back: user is not back)


def _restore_flatten(module: GraphModule) -> None:
    """Make ``flatten(x, 1)`` of ``view(x, [N, -1])`` with a batch computed at run time.

    One number a sample, ``[N]``, gets an axis.
    """
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
            one = source.meta["val"].ndim == 1
            operator = _ATEN.unsqueeze.default if one else _ATEN.flatten.using_ints
            flat = graph.call_function(operator, (source, 1))
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


def _hoist_clips(module: GraphModule) -> None:
    """``relu(max_pool(x))`` becomes ``max_pool(relu(x))``: the layer that made x absorbs it."""
    for node in list(module.graph.nodes):
        low, _ = clip_range(node)
        if low != 0:
            continue
        while op_name(source := node.args[0]) in _MOVES and len(source.users) == 1:
            before = source.args[0]
            node.replace_all_uses_with(source)
            node.args = (before, *node.args[1:])
            node.meta = {**node.meta, "val": before.meta["val"]}
            source.replace_input_with(before, node)
            source.prepend(node)


def _replace_splits(module: GraphModule) -> None:
    """Each part of ``split(x, sizes)`` becomes a slice, which keeps the scale of x."""
    graph = module.graph
    for node in [n for n in graph.nodes if op_name(n) in ("split", "split_with_sizes")]:
        axis, start = argument(node, 2, 0), 0
        if not all(isinstance(part.shape[axis], int) for part in node.meta["val"]):
            continue  # along the batch, whose size is open
        for index, part in enumerate(node.meta["val"]):
            stop = start + part.shape[axis]
            for user in [u for u in node.users if u.args[1] == index]:
                args = (node.args[0], axis, start, stop)
                new = insert(user, torch.ops.aten.slice.Tensor, args, part)
                user.replace_all_uses_with(new)
                graph.erase_node(user)
            start = stop
        graph.erase_node(node)


def _replace_silu(module: GraphModule) -> None:
    """``silu(x)`` becomes ``x * sigmoid(x)``: both have integer kernels."""
    for node in list(module.graph.nodes):
        if op_name(node) == "silu":
            x = node.args[0]
            gate = insert(node, torch.ops.aten.sigmoid.default, (x,), node.meta["val"])
            node.target, node.args = torch.ops.aten.mul.Tensor, (x, gate)


def _channels_last(module: GraphModule) -> None:
    """Filters in channels-last layout: the same numbers, about twice as fast on a CPU."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
