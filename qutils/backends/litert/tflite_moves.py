"""Operators that only move integers, as LiteRT's int8 kernels: MOVES."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_layers import Emit
from qutils.backends.litert.tflite_picks import repeated, select
from qutils.backends.litert.tflite_values import Value, Writer, place_of, unsupported
from qutils.graph.nodes import argument, op_name

_REFLECT = 0  # of the format's MirrorPadMode


def reshape(w: Writer, node: Node, grid: Grid | None) -> Value:
    """RESHAPE of the channels-second order, which is the one that the graph means."""
    x = w.read(node.args[0])
    if x.last and not w.lies_alike(x):
        x = w.arranged(x, last=False)
    return w.reshaped(x, w.shapes[node.name], growing=w.growing(node))


def permute(w: Writer, node: Node, grid: Grid | None) -> Value:
    """TRANSPOSE."""
    x = w.arranged(w.read(node.args[0]), last=False)
    rank = len(x.shape)
    if op_name(node) == "permute":
        order = [int(axis) % rank for axis in argument(node, 1)]
    else:
        one, other = (int(argument(node, place)) % rank for place in (1, 2))
        order = list(range(rank))
        order[one], order[other] = other, one
    shape = w.shapes[node.name]
    inputs = (x.tensor, w.flat.integers(order))
    return w.emit("TRANSPOSE", inputs, shape, x.grid, "TransposeOptions", kind=x.kind)


def expand(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Nothing for arithmetic, which broadcasts by itself; GATHER for other readers."""
    x, shape = w.read(node.args[0]), w.shapes[node.name]
    settled = w.stored(node.args[0]) is not None or _name(node.args[0]) in w.fixed
    if settled and w.growing(node) == 0:
        x = _for_each_sample(w, x, len(shape))
    if x.shape == shape or all(_fills(w, reader, node) for reader in _readers(node)):
        return x
    if len(x.shape) != len(shape) or x.shape[0] != shape[0]:
        raise unsupported(node, "it repeats the batch, or adds an axis in front of it")
    x = w.arranged(x, last=False)
    for axis, size in enumerate(shape):
        if x.shape[axis] != size:
            made = (*x.shape[:axis], size, *x.shape[axis + 1 :])
            inputs = (x.tensor, w.flat.integers([0] * size))
            x = w.emit("GATHER", inputs, made, x.grid, "GatherOptions", axis=axis, kind=x.kind)
    return x


def _name(node: Any) -> str:
    return node.name if isinstance(node, Node) else ""


def _for_each_sample(w: Writer, x: Value, rank: int) -> Value:
    """Return a stored tensor once for each sample: it is added to zeros ``[N, 1, ...]``.

    The zeros are the first value of each sample of the network's input, times zero.
    """
    given = next(iter(w.values.values()))
    zero, sizes = w.flat.constant(np.zeros(1, np.float32)), (1,) * len(given.shape)
    ends = (w.flat.integers([n] * len(sizes)) for n in (0, 1, 1))
    first = w.emit(
        "STRIDED_SLICE",
        (given.tensor, *ends),
        sizes,
        None,
        "StridedSliceOptions",
        beginMask=1,
        endMask=1,
        kind=given.kind,
    )
    first = w.cast(first, "float32")
    zeros = w.emit("MUL", (first.tensor, zero), sizes, None, "MulOptions")
    zeros = w.reshaped(zeros, (1,) * rank)
    x = w.reshaped(x, (1,) * (rank - len(x.shape)) + x.shape, growing=None)
    real, grid = w.cast(w.requantized(x, None), "float32"), x.grid
    added = w.emit("ADD", (zeros.tensor, real.tensor), x.shape, None, "AddOptions")
    return w.cast(added, x.kind) if grid is None else w.requantized(added, grid)


def _fills(w: Writer, reader: Node, node: Node) -> bool:
    """Whether a reader gets its full shape from another operand than the expanded one."""
    if op_name(reader) not in _BROADCASTS:
        return False
    others = [a for a in reader.args[:2] if isinstance(a, Node) and _made(a) is not node]
    full = w.shapes[reader.name]
    return any(op_name(_made(a)) != "expand" and w.shapes[a.name] == full for a in others)


def _made(node: Node) -> Node:
    """The node that computed a value, before its quantization."""
    while "quantize_per" in op_name(node) and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


#: Operators that read a smaller tensor as if it were expanded.
_BROADCASTS = ("add", "sub", "mul", "div", "pow", "maximum", "minimum")


def _readers(node: Node) -> list[Node]:
    """Return what reads a value after its quantization."""
    found = []
    for user in node.users:
        found += _readers(user) if "quantize_per" in op_name(user) else [user]
    return found


def cut(w: Writer, node: Node, grid: Grid | None) -> Value:
    """STRIDED_SLICE, which leaves the batch open as SLICE does not."""
    x, shape = w.read(node.args[0]), w.shapes[node.name]
    rank = len(shape)
    axis = argument(node, 1, 0) % rank
    size, step = x.shape[axis], argument(node, 4, 1)
    start = argument(node, 2) or 0
    if shape == x.shape and axis == w.growing(node):
        return x
    if axis == w.growing(node):
        raise unsupported(node, "it cuts along the batch")
    start = min(max(start + size * (start < 0), 0), size)
    place, count = place_of(axis, rank, x.last), shape[axis]
    begin, end, steps = [0] * rank, [0] * rank, [1] * rank
    begin[place], end[place], steps[place] = start, start + (count - 1) * step + 1, step
    whole = ((1 << rank) - 1) ^ (1 << place)  # axes that are left as they are
    inputs = [x.tensor, *(w.flat.integers(each) for each in (begin, end, steps))]
    return w.emit(
        "STRIDED_SLICE",
        inputs,
        shape,
        x.grid,
        "StridedSliceOptions",
        last=x.last,
        kind=x.kind,
        beginMask=whole,
        endMask=whole,
    )


def pad(w: Writer, node: Node, grid: Grid | None) -> Value:
    """PAD with real zeros, MIRROR_PAD, or GATHER of what is repeated."""
    x, shape = w.read(node.args[0]), w.shapes[node.name]
    rank = len(shape)
    flat: Any = node.args[1]
    mode = argument(node, 2, "constant") if op_name(node) == "pad" else "constant"
    if min(flat) < 0:
        raise unsupported(node, "it cuts by padding less than nothing; use a slice")
    amounts = np.zeros((rank, 2), np.int32)
    for index in range(len(flat) // 2):  # the last axis comes first
        place = place_of(rank - 1 - index, rank, x.last)
        amounts[place] = flat[2 * index : 2 * index + 2]
    inputs = (x.tensor, w.flat.constant(amounts))
    if mode == "replicate":
        return repeated(w, x, flat)
    if mode == "constant":
        if argument(node, 3 if op_name(node) == "pad" else 2, 0):
            raise unsupported(node, "it pads with something else than 0")
        return w.emit("PAD", inputs, shape, x.grid, "PadOptions", last=x.last)
    if mode == "reflect":
        options: dict[str, Any] = {"last": x.last, "mode": _REFLECT}
        return w.emit("MIRROR_PAD", inputs, shape, x.grid, "MirrorPadOptions", **options)
    raise unsupported(node, f"it pads by the unknown mode {mode!r}")


def enlarge(w: Writer, node: Node, grid: Grid | None) -> Value:
    """RESIZE_NEAREST_NEIGHBOR."""
    x, shape = w.arranged(w.read(node.args[0]), last=True), w.shapes[node.name]
    inputs = (x.tensor, w.flat.integers(shape[2:]))
    options = "ResizeNearestNeighborOptions"
    return w.emit("RESIZE_NEAREST_NEIGHBOR", inputs, shape, x.grid, options, last=True)


def pixel_shuffle(w: Writer, node: Node, grid: Grid | None) -> Value:
    """``[N, C r r, H, W] -> [N, C, H r, W r]``, as RESHAPE, TRANSPOSE, RESHAPE."""
    x, shape = w.arranged(w.read(node.args[0]), last=False), w.shapes[node.name]
    n, _, height, width = x.shape
    r: Any = node.args[1]
    parts = w.reshaped(x, (n, shape[1], r, r, height, width))
    order = (0, 1, 4, 2, 5, 3)
    moved = w.emit(
        "TRANSPOSE",
        (parts.tensor, w.flat.integers(order)),
        [parts.shape[axis] for axis in order],
        x.grid,
        "TransposeOptions",
    )
    return w.reshaped(moved, shape)


MOVES: dict[str, Emit] = {
    **dict.fromkeys(
        ("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze"), reshape
    ),
    "permute": permute,
    "transpose": permute,
    "expand": expand,
    "slice": cut,
    "index_select": select,
    "pad": pad,
    "constant_pad_nd": pad,
    "upsample_nearest2d": enlarge,
    "pixel_shuffle": pixel_shuffle,
}
