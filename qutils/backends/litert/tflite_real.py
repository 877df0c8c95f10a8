"""Operators that LiteRT computes in float between its int8 kernels: REAL_LAYERS."""

from __future__ import annotations

import math

import numpy as np
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_layers import Emit, pointwise, two_operands
from qutils.backends.litert.tflite_values import Value, Writer, unsupported
from qutils.graph.nodes import argument, op_name
from qutils.graph.ops import clip_range


def clamp(w: Writer, node: Node, grid: Grid | None) -> Value:
    """MAXIMUM with the lower bound, MINIMUM with the upper one."""
    made = w.read(node.args[0])
    for code, bound in zip(("MAXIMUM", "MINIMUM"), clip_range(node), strict=True):
        if math.isfinite(bound):
            number = w.flat.constant(np.array(bound, np.float32))
            inputs, options = (made.tensor, number), "MaximumMinimumOptions"
            made = w.emit(code, inputs, made.shape, grid, options, last=made.last)
    return made


_REDUCTIONS = {"mean": "MEAN", "sum": "SUM", "amax": "REDUCE_MAX", "amin": "REDUCE_MIN"}


def reduction(w: Writer, node: Node, grid: Grid | None) -> Value:
    """MEAN, SUM, REDUCE_MAX or REDUCE_MIN over some axes, but not the batch."""
    x = w.arranged(w.read(node.args[0]), last=False)
    axes = argument(node, 1, node.kwargs.get("dim"))
    chosen = [axes] if isinstance(axes, int) else list(axes or range(len(x.shape)))
    places = sorted(int(axis) % len(x.shape) for axis in chosen)
    if 0 in places:
        raise unsupported(node, "it reduces the batch")
    keep = bool(argument(node, 2, node.kwargs.get("keepdim", False)))
    inputs = (x.tensor, w.flat.integers(places))
    code, shape = _REDUCTIONS[op_name(node)], w.shapes[node.name]
    return w.emit(code, inputs, shape, grid, "ReducerOptions", keepDims=keep)


def gelu(w: Writer, node: Node, grid: Grid | None) -> Value:
    """GELU, exact or by the hyperbolic tangent."""
    approximate = node.kwargs.get("approximate", "none") == "tanh"
    return pointwise("GELU", "GeluOptions", approximate=approximate)(w, node, grid)


REAL_LAYERS: dict[str, Emit] = {
    "sub": two_operands,
    "div": two_operands,
    "relu6": pointwise("RELU6"),
    "abs": pointwise("ABS", "AbsOptions"),
    "neg": pointwise("NEG", "NegOptions"),
    "sqrt": pointwise("SQRT"),
    "rsqrt": pointwise("RSQRT"),
    "log": pointwise("LOG"),
    "maximum": two_operands,
    "minimum": two_operands,
    "pow": two_operands,
    "clamp": clamp,
    "clamp_min": clamp,
    "hardtanh": clamp,
    "mean": reduction,
    "sum": reduction,
    "amax": reduction,
    "amin": reduction,
    "tanh": pointwise("TANH"),
    "exp": pointwise("EXP", "ExpOptions"),
    "gelu": gelu,
    "hardswish": pointwise("HARD_SWISH", "HardSwishOptions"),
}
