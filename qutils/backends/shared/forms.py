"""Reference graphs in the forms that PyTorch's own backends look for; the numbers stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError
from qutils.graph.nodes import argument, attribute, insert, is_float, op_name

_HALF = 128  # from 0..255 to -128..127


def float_biases(module: GraphModule) -> None:
    """Store each int32 bias as the real numbers it stands for, ``q scale``, in place.

    Backends that take a float bias divide by the same scale again: below ``2^21``, where two
    roundings of float32 stay under half a step, the very integers come back.
    """
    for node in list(module.graph.nodes):
        if op_name(node).startswith("dequantize") and node.args[-1] is torch.int32:
            with torch.no_grad():
                value = node.target(*(_value(module, a) for a in node.args))
            name = str(node.args[0].target).removesuffix("_integers") + "_real"
            with module.graph.inserting_before(node):
                new = _buffer(module, name, value)
            node.replace_all_uses_with(new)
            module.graph.erase_node(node)


def signed(module: GraphModule) -> None:
    """Integers 0..255 become -128..127, stored ones as well: ``q - 128``, ``zero_point - 128``."""
    _shift(module, torch.uint8, torch.int8, lambda stored: True)


def signed_weights(module: GraphModule) -> None:
    """As ``signed``, but of stored integers only."""
    _shift(module, torch.uint8, torch.int8, lambda stored: stored)


def unsigned(module: GraphModule) -> None:
    """Activations -128..127 become 0..255: ``q + 128``, ``zero_point + 128``."""
    _shift(module, torch.int8, torch.uint8, lambda stored: not stored)


def _shift(
    module: GraphModule, old: torch.dtype, new: torch.dtype, shifts: Callable[[bool], bool]
) -> None:
    by = _HALF if new is torch.uint8 else -_HALF
    changed: set[str] = set()
    for node in module.graph.nodes:
        op = op_name(node)
        if not op.startswith(("quantize_per", "dequantize_per")) or node.args[-1] is not old:
            continue
        source = node.args[0]
        stored = source.op == "get_attr" and op.startswith("dequantize")
        if not shifts(stored):
            continue
        if stored:
            changed.add(str(source.target))
        if op.endswith("per_tensor"):
            node.args = (*node.args[:2], *(int(a) + by for a in node.args[2:5]), new)
        else:
            changed.add(str(node.args[2].target))
            node.args = (*node.args[:4], *(int(a) + by for a in node.args[4:6]), new)
    for name in changed:
        value = attribute(module, name)
        moved = value.to(torch.int64) + by
        setattr(module, name, moved.to(new) if value.dtype is old else moved)


def scales_of_channels(module: GraphModule) -> None:
    """Stored weights of one scale get it once for each output channel."""
    for node in list(module.graph.nodes):
        source: Any = node.args[0] if op_name(node) == "dequantize_per_tensor" else None
        if source is None or source.op != "get_attr" or node.args[-1] is torch.int32:
            continue
        if (value := attribute(module, str(source.target))).ndim == 0:
            continue  # a stored number, no weight
        channels = len(value)
        scale, zero_point, qmin, qmax, dtype = node.args[1:6]
        values = {
            "scale": torch.full((channels,), scale),
            "zero_point": torch.full((channels,), zero_point, dtype=torch.int64),
        }
        with module.graph.inserting_before(node):
            stored = [_buffer(module, f"{source.target}_{k}", v) for k, v in values.items()]
        args = (source, *stored, 0, qmin, qmax, dtype)
        target = torch.ops.quantized_decomposed.dequantize_per_channel.default
        new = insert(node, target, args, node.meta["val"])
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)


def _buffer(module: GraphModule, name: str, value: torch.Tensor) -> Node:
    module.register_buffer(name, value)
    node = module.graph.get_attr(name)
    node.meta["val"] = value
    return node


def one_reader_each(module: GraphModule) -> None:
    """A dequantization of its own for every reader: backends match patterns that are trees."""
    for node in list(module.graph.nodes):
        if not op_name(node).startswith("dequantize"):
            continue
        for user in list(node.users)[1:]:
            own = insert(user, node.target, node.args, node.meta.get("val"))
            own.meta = dict(node.meta)
            user.replace_input_with(node, own)


def dense(module: GraphModule) -> None:
    """Every stored tensor in plain row-major layout; what nothing reads any more is forgotten."""
    module.graph.eliminate_dead_code()
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name, tensor in list(module.named_buffers()):
        if name in read:
            setattr(module, name, tensor.contiguous())
        else:
            delattr(module, name)


def spell_out_shapes(module: GraphModule) -> None:
    """``flatten`` becomes ``reshape`` to ``[-1, ...]``."""
    for node in module.graph.nodes:
        if op_name(node) == "flatten" and argument(node, 1, 0) == 1:
            sizes = node.meta["val"].shape[1:]
            if all(isinstance(size, int) for size in sizes):
                node.target = torch.ops.aten.reshape.default
                node.args, node.kwargs = (node.args[0], [-1, *sizes]), {}


def flatten_volumes(module: GraphModule) -> None:
    """Average pooling of ``[N, C, D, H, W]`` becomes one of planes, then one of columns."""
    aten = torch.ops.aten
    for node in [n for n in module.graph.nodes if op_name(n) == "avg_pool3d"]:
        source: Any = node.args[0]
        kernel, stride = argument(node, 1), argument(node, 2)
        channels, depth, height, width = source.meta["val"].shape[1:]
        _, _, results, *plane = node.meta["val"].shape
        for shape, k, s, pooled in (
            ([channels * depth, height, width], kernel[1:], stride[1:], [channels * depth, *plane]),
            (
                [channels, depth, math.prod(plane)],
                [kernel[0], 1],
                [stride[0], 1],
                [channels, results, math.prod(plane)],
            ),
        ):
            batch = node.meta["val"].shape[:1]
            value = source.meta["val"].new_empty([*batch, *shape])
            source = insert(node, aten.reshape.default, (source, [-1, *shape]), value)
            value = value.new_empty([*batch, *pooled])
            source = insert(node, aten.avg_pool2d.default, (source, k, s), value)
        args = (source, [-1, channels, results, *plane])
        node.replace_all_uses_with(insert(node, aten.reshape.default, args, node.meta["val"]))
        module.graph.erase_node(node)


def move_integers(module: GraphModule, moves: Callable[[Node], bool]) -> None:
    """``dequantize -> op -> quantize`` becomes ``op`` of the integers, for the ops that ``moves``.

    Such an operator picks or repeats values. The zero that pads is the zero point.
    """
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not is_float(node) or not moves(node):
            continue
        before: Any = node.args[0]
        if op_name(before) != "dequantize_per_tensor":
            continue
        after = list(node.users)
        if any(op_name(n) != "quantize_per_tensor" or n.args[1:] != before.args[1:] for n in after):
            continue
        args = (before.args[0], *node.args[1:])
        if op_name(node) in ("pad", "constant_pad_nd"):
            args = _padding_by(before.args[2], node)
        new = insert(node, node.target, args, node.meta["val"].to(torch.int8))
        new.kwargs = node.kwargs
        for quantized in after:
            quantized.replace_all_uses_with(new)
            module.graph.erase_node(quantized)
        module.graph.erase_node(node)


def _padding_by(zero_point: Any, node: Node) -> tuple[Any, ...]:
    source: Any = node.args[0]
    if op_name(node) == "constant_pad_nd":
        return (source.args[0], node.args[1], zero_point)
    mode = argument(node, 2, "constant")
    return (source.args[0], node.args[1], mode, zero_point if mode == "constant" else None)


def _value(module: GraphModule, operand: Any) -> Any:
    return attribute(module, str(operand.target)) if isinstance(operand, Node) else operand


def untranslated(framework: str, error: BaseException) -> UnsupportedError:
    """The error for a graph that a framework cannot take: the first line of what began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UnsupportedError(f"{framework} cannot translate the graph: {reason}")
