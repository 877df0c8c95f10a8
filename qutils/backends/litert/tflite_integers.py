"""Token ids, masks and comparisons: int32 and bool values of a ``.tflite`` file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_layers import Emit, two_operands
from qutils.backends.litert.tflite_moves import cut, expand, permute, reshape
from qutils.backends.litert.tflite_values import Value, Writer, kind_of, unsupported
from qutils.graph.nodes import op_name

_COMPARISONS = {
    "eq": ("EQUAL", "EqualOptions"),
    "ne": ("NOT_EQUAL", "NotEqualOptions"),
    "lt": ("LESS", "LessOptions"),
    "le": ("LESS_EQUAL", "LessEqualOptions"),
    "gt": ("GREATER", "GreaterOptions"),
    "ge": ("GREATER_EQUAL", "GreaterEqualOptions"),
}
_LOGIC = {
    **dict.fromkeys(("__and__", "bitwise_and", "logical_and"), ("LOGICAL_AND", "LogicalAnd")),
    **dict.fromkeys(("__or__", "bitwise_or", "logical_or"), ("LOGICAL_OR", "LogicalOr")),
    **dict.fromkeys(("bitwise_not", "logical_not"), ("LOGICAL_NOT", "LogicalNot")),
}


def embedding(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write GATHER of the rows that token ids name, in float32."""
    table, ids = w.read(node.args[0]), w.raw(node.args[1])
    inputs = (table.tensor, ids.tensor)
    return w.emit("GATHER", inputs, w.shapes[node.name], grid, "GatherOptions", axis=0)


def where(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write SELECT_V2 between two float32 values, all of them in PyTorch's order."""
    if op_name(node) == "masked_fill":
        otherwise, chosen, value = node.args
    else:
        chosen, value, otherwise = node.args
    mask = w.arranged(w.raw(chosen), last=False)
    parts = [w.arranged(w.read(part), last=False) for part in (value, otherwise)]
    inputs = [mask.tensor, *(part.tensor for part in parts)]
    return w.emit("SELECT_V2", inputs, w.shapes[node.name], grid, "SelectV2Options")


def cast(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write CAST to the type of the node's result."""
    return w.cast(w.read(node.args[0]), kind_of(node.meta["val"].dtype))


def compare(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write a comparison, whose operands are compared as float32: exact up to 2^24."""
    code, options = _COMPARISONS[op_name(node)]
    w.real = True
    try:
        parts = [w.arranged(w.read(part), last=False) for part in node.args[:2]]
    finally:
        w.real = False
    inputs = [part.tensor for part in parts]
    return w.emit(code, inputs, w.shapes[node.name], None, options, kind="bool")


def logic(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write a logical operator of bools; other types are refused."""
    code, options = _LOGIC[op_name(node)]
    parts = [w.arranged(w.raw(part), last=False) for part in node.args]
    if any(part.kind != "bool" for part in parts):
        raise unsupported(node, "its operands are not bools; compare them with 0 first")
    inputs = [part.tensor for part in parts]
    return w.emit(code, inputs, w.shapes[node.name], None, f"{options}Options", kind="bool")


def index(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write ``x[arange(N)[:, None, ...], places]`` as a GATHER along axis 1; refuse others."""
    x = w.arranged(w.raw(node.args[0]), last=False)
    given: Any = node.args[1]
    places = w.fixed.get(given[1].name) if len(given) == 2 and given[1] is not None else None
    batch = w.both.get(given[0].name) if isinstance(given[0], Node) else None
    shape = w.shapes[node.name]
    if places is None or places.shape[:1] != (1,) or batch is None or not _counts(*batch):
        raise unsupported(node, "it picks by other indices than constants along axis 1")
    flat = w.flat.integers(places.flatten().tolist())
    made = (*x.shape[:1], places.numel(), *x.shape[2:])
    inputs, options = (x.tensor, flat), "GatherOptions"
    picked = w.emit("GATHER", inputs, made, x.grid, options, axis=1, kind=x.kind)
    return w.reshaped(picked, shape, growing=w.growing(node))


def _counts(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Return True if indices of one sample and of two are 0, and 0 and 1, along the first axis."""
    return one.flatten().tolist() == [0] and two.flatten().tolist() == [0, 1] and len(two) == 2


#: Operators whose result is int32 or bool.
INTEGER_LAYERS: dict[str, Emit] = {
    **dict.fromkeys(
        ("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze"), reshape
    ),
    "permute": permute,
    "transpose": permute,
    "slice": cut,
    "expand": expand,
    "_to_copy": cast,
    "index": index,
    **dict.fromkeys(_COMPARISONS, compare),
    **dict.fromkeys(_LOGIC, logic),
    "add": two_operands,
    "sub": two_operands,
    "mul": two_operands,
}
#: Operators that read integers and give float32.
REAL_OF_INTEGERS: dict[str, Emit] = {
    "embedding": embedding,
    "where": where,
    "masked_fill": where,
    "_to_copy": cast,
}


def given(w: Writer, tensor: int, shape: tuple[int, ...], dtype: torch.dtype) -> Value:
    """Return an input of the file as operators read it: int64 is cast to int32."""
    value = Value(tensor, shape, None, kind=np.dtype(str(dtype).split(".")[-1]).name)
    return w.cast(value, kind_of(dtype))
