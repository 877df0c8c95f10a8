"""Functions of one value and reductions, which LiteRT computes in int8 or float32: FUNCTIONS."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_layers import Emit, pointwise
from qutils.backends.litert.tflite_values import Value, Writer, place_of, unsupported
from qutils.graph.nodes import argument, op_name
from qutils.graph.ops.reductions import reduced_axes

_REDUCTIONS = {"mean": "MEAN", "sum": "SUM", "amax": "REDUCE_MAX", "amin": "REDUCE_MIN"}
#: An int8 weight that stands for 1/6.
_SIXTH = 127


def gelu(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write GELU, exact or by the hyperbolic tangent."""
    approximate = node.kwargs.get("approximate", "none") == "tanh"
    return pointwise("GELU", "GeluOptions", approximate=approximate)(w, node, grid)


def prelu(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write PRELU, its slopes ``[C]`` along the last axis."""
    slopes = w.stored(node.args[1])
    assert slopes is not None
    x = w.arranged(w.read(node.args[0]), last=True)
    inputs = (x.tensor, w.flat.constant(slopes.values, slopes.grid))
    return w.emit("PRELU", inputs, x.shape, grid, last=x.last)


def hardsigmoid(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write ``x / 6 + 1 / 2`` as a convolution of each channel, whose result saturates at 0 and 1.

    There is no operator of that name. The integers of the result end at 0 and 1.
    """
    x = w.read(node.args[0])
    assert grid is not None
    assert x.grid is not None
    channels = x.shape[1] if len(x.shape) > 1 else 1
    rows = int(np.prod(x.shape[2:], dtype=np.int64))
    flat = w.reshaped(x, (x.shape[0], channels, rows, 1), last=x.last)
    flat = w.arranged(flat, last=True)
    scale = 1 / (6 * _SIXTH)
    filters = np.full((1, 1, 1, channels), _SIXTH, np.int8)
    step = np.float32(x.grid.scale[0]) * np.float32(scale)
    half = np.full(channels, round(0.5 / float(step)), np.int32)
    inputs = (
        flat.tensor,
        w.flat.constant(filters, Grid((scale,) * channels, axis=3)),
        w.flat.constant(half, Grid((float(step),) * channels)),
    )
    ones = ("strideH", "strideW", "dilationHFactor", "dilationWFactor", "depthMultiplier")
    places: dict[str, Any] = dict.fromkeys(ones, 1)
    made = w.emit(
        "DEPTHWISE_CONV_2D",
        inputs,
        flat.shape,
        grid,
        "DepthwiseConv2DOptions",
        last=True,
        padding=1,  # VALID
        **places,
    )
    return w.reshaped(w.arranged(made, x.last), x.shape, last=x.last)


def reduction(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Write MEAN, SUM, REDUCE_MAX or REDUCE_MIN over some axes, but not the batch.

    The extremes keep the scale of what they read.
    """
    x, axes = w.read(node.args[0]), reduced_axes(node)
    if 0 in axes:
        raise unsupported(node, "it reduces the batch")
    keep = bool(argument(node, 2, node.kwargs.get("keepdim", False)))
    rank, shape = len(x.shape), w.shapes[node.name]
    last = x.last and (keep or (1 not in axes and len(shape) > 2))
    places = sorted(place_of(axis, rank, x.last) for axis in axes)
    code = _REDUCTIONS[op_name(node)]
    made_on = x.grid if code.startswith("REDUCE") else grid
    inputs = (x.tensor, w.flat.integers(places))
    made = w.emit(code, inputs, shape, made_on, "ReducerOptions", last=last, keepDims=keep)
    return w.requantized(made, grid)


FUNCTIONS: dict[str, Emit] = {
    "tanh": pointwise("TANH"),
    "gelu": gelu,
    "elu": pointwise("ELU"),
    "hardswish": pointwise("HARD_SWISH", "HardSwishOptions"),
    "hardsigmoid": hardsigmoid,
    "prelu": prelu,
    "abs": pointwise("ABS", "AbsOptions"),
    "mean": reduction,
    "sum": reduction,
    "amax": reduction,
    "amin": reduction,
}
