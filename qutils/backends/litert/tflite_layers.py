"""Operators that compute, as LiteRT's int8 kernels or its float ones: LAYERS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_values import (
    Stored,
    Value,
    Writer,
    kind_of,
    place_of,
    unsupported,
)
from qutils.backends.litert.tflite_windows import (
    Pads,
    conv_pads,
    each,
    padded,
    planned,
    two,
    with_height,
    without_height,
)
from qutils.graph.nodes import argument, op_name

#: Writes one node, whose result has the given grid; in float32 if that is None.
Emit = Callable[[Writer, Node, Grid | None], Value]
#: What a border holds that no maximum sees, among integers and in float.
_LOWEST = np.array([-128], np.int8), np.array([np.finfo(np.float32).min], np.float32)


def conv(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Convolution over one or two axes, in groups, or of each channel by itself."""
    weights = w.stored(node.args[1])
    assert weights is not None
    x = with_height(w, w.read(node.args[0]))
    kernel = weights.values.shape[2:]
    square = weights.values.reshape(*weights.values.shape[:2], *two(kernel, 1))
    bias = w.stored(argument(node, 2))
    made = _convolve(
        w,
        x,
        Stored(square, weights.grid),
        None if bias is None else bias.values,
        w.shapes[node.name],
        grid,
        stride=two(each(argument(node, 3, 1), kernel), 1),
        pads=conv_pads(argument(node, 4, 0), argument(node, 5, 1), kernel),
        dilation=two(each(argument(node, 5, 1), kernel), 1),
        depthwise=argument(node, 6, 1) == x.shape[1] > 1,
    )
    return without_height(w, made, w.shapes[node.name])


def average_pool(w: Writer, node: Node, grid: Grid | None) -> Value:
    """The mean of each window, as a convolution of each channel by ones of scale ``1 / n``.

    AVERAGE_POOL_2D keeps its input's scale and rounds on it; the convolution rounds once, on the
    output's own.
    """
    kernel = each(node.args[1], w.shapes[node.name][2:])
    stride = each(argument(node, 2) or kernel, kernel)
    padding = each(argument(node, 3, 0), kernel)
    if any(padding) and not argument(node, 5, True):
        raise unsupported(node, "count_include_pad=False changes the divisor at the border")
    if argument(node, 6) is not None:
        raise unsupported(node, "divisor_override: it divides by the size of the window")
    x = with_height(w, w.read(node.args[0]))
    shape, share = (x.shape[1], 1, *two(kernel, 1)), float(np.float32(1 / math.prod(kernel)))
    ones = Stored(np.ones(shape, np.int8), Grid((share,)))
    if grid is None:
        ones = Stored(np.full(shape, share, np.float32), None)
    made = _convolve(
        w,
        x,
        ones,
        None,
        planned(w, node, kernel, stride, padding),
        grid,
        stride=two(stride, 1),
        pads=two([(p, p) for p in padding], (0, 0)),
        dilation=(1, 1),
        depthwise=True,
    )
    return without_height(w, made, w.shapes[node.name])


def _convolve(
    w: Writer,
    x: Value,
    weights: Stored,  # [O, I, H, W]
    bias: NDArray[Any] | None,
    shape: tuple[int, ...],
    grid: Grid | None,
    *,
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
    depthwise: bool,
) -> Value:
    """CONV_2D or DEPTHWISE_CONV_2D with padding of its own where the format knows it."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weights.values.shape[2:], strict=True)]
    x, padding = padded(w, x, spans, stride, pads)
    if depthwise:  # [O, 1, H, W] -> [1, H, W, O]
        filters, axis = weights.values.transpose(1, 2, 3, 0), 3
    else:  # [O, I, H, W] -> [O, H, W, I]
        filters, axis = weights.values.transpose(0, 2, 3, 1), 0
    outputs = len(weights.values)
    of_filters = weights.grid and Grid(weights.grid.scale, axis=axis)
    inputs = (x.tensor, w.flat.constant(filters, of_filters), _bias(w, x.grid, weights, bias))
    places: dict[str, Any] = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
    }
    if depthwise:
        places["depthMultiplier"] = outputs // x.shape[1]
    return w.emit(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        inputs,
        (*shape[:2], *two(shape[2:], 1)),
        grid,
        "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        last=True,
        **places,
    )


def linear(w: Writer, node: Node, grid: Grid | None) -> Value:
    """FULLY_CONNECTED: weights ``[O, I]``."""
    weights, bias = w.stored(node.args[1]), w.stored(argument(node, 2))
    assert weights is not None
    x = w.read(node.args[0])
    inputs = (
        x.tensor,
        w.flat.constant(weights.values, weights.grid),
        _bias(w, x.grid, weights, None if bias is None else bias.values),
    )
    shape = w.shapes[node.name]
    return w.emit("FULLY_CONNECTED", inputs, shape, grid, "FullyConnectedOptions")


def _bias(w: Writer, source: Grid | None, weights: Stored, bias: NDArray[Any] | None) -> int:
    """An int32 bias ``[O]`` of scale ``scale(input) scale(weight)``; zeros where there is none.

    Float32 after float weights.
    """
    if source is None or weights.grid is None:
        zeros = np.zeros(len(weights.values), np.float32)
        return w.flat.constant(zeros if bias is None else bias)
    integers = np.zeros(len(weights.values), np.int32) if bias is None else bias
    scale = np.float32(source.scale[0]) * np.array(weights.grid.scale, np.float32)
    return w.flat.constant(integers, Grid(tuple(scale.tolist())))


def global_average(w: Writer, node: Node, grid: Grid | None) -> Value:
    """MEAN over both axes in space."""
    if set(argument(node, 1)) != {1}:
        raise unsupported(node, "it pools to one value, not to several windows")
    x = w.arranged(w.read(node.args[0]), last=True)
    inputs = (x.tensor, w.flat.integers((1, 2)))
    shape = (*x.shape[:2], 1, 1)
    return w.emit("MEAN", inputs, shape, grid, "ReducerOptions", last=True, keepDims=True)


def max_pool(w: Writer, node: Node, grid: Grid | None) -> Value:
    """MAX_POOL_2D; a border that it cannot add itself holds the lowest integer."""
    kernel = each(node.args[1], w.shapes[node.name][2:])
    stride = each(argument(node, 2) or kernel, kernel)
    padding = each(argument(node, 3, 0), kernel)
    if any(d != 1 for d in each(argument(node, 4, 1), kernel)):
        raise unsupported(node, "its pooling knows no dilation")
    shape = planned(w, node, kernel, stride, padding)
    x = with_height(w, w.read(node.args[0]))
    window, step = two(kernel, 1), two(stride, 1)
    pads = two([(p, p) for p in padding], (0, 0))
    x, own = padded(w, x, window, step, pads, fill=_LOWEST[x.grid is None])
    made = w.emit(
        "MAX_POOL_2D",
        (x.tensor,),
        (*shape[:2], *two(shape[2:], 1)),
        x.grid,
        "Pool2DOptions",
        last=True,
        padding=own,
        strideH=step[0],
        strideW=step[1],
        filterHeight=window[0],
        filterWidth=window[1],
    )
    return w.requantized(without_height(w, made, shape), grid)


def two_operands(w: Writer, node: Node, grid: Grid | None) -> Value:
    """ADD, SUB, MUL, DIV, POW, MAXIMUM or MINIMUM, with broadcasting.

    What is stored is brought into the order of the other operand.
    """
    if node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("rounding_mode"):
        raise unsupported(node, f"not with {dict(node.kwargs)}")
    code = op_name(node).upper()
    both = code in ("MAXIMUM", "MINIMUM")  # of one scale, which is the result's
    options = "MaximumMinimumOptions" if both else f"{code.capitalize()}Options"
    shape = w.shapes[node.name]
    computed = [w.read(a) for a in node.args[:2] if w.stored(a) is None]
    last = any(value.last for value in computed)
    inputs = [_operand(w, a, len(shape), last, grid if both else None) for a in node.args[:2]]
    kind = "float32" if w.real else kind_of(node.meta["val"].dtype)
    return w.emit(code, inputs, shape, grid, options, last=last, kind=kind)


def _operand(w: Writer, node: Any, rank: int, last: bool, grid: Grid | None) -> int:
    """Return the tensor of an operand, on a grid if one is given."""
    stored = w.stored(node)
    if stored is None:
        value = w.read(node)
        value = value if grid is None else w.requantized(value, grid, operand=True)
        if len(value.shape) != rank:
            value = w.arranged(value, last=False)
            value = w.reshaped(value, (1,) * (rank - len(value.shape)) + value.shape, growing=None)
        return w.arranged(value, last).tensor
    stored = stored if grid is None else _on(stored, grid)
    values = stored.values.reshape((1,) * (rank - stored.values.ndim) + stored.values.shape)
    return w.flat.constant(np.moveaxis(values, 1, -1) if last else values, stored.grid)


def _on(stored: Stored, grid: Grid) -> Stored:
    """Return stored integers of one scale on another grid, rounded half to even."""
    assert stored.grid is not None
    centered = stored.values.astype(np.int32) - stored.grid.zero_point
    steps = np.rint(np.float32(stored.grid.scale[0]) * centered / np.float32(grid.scale[0]))
    return Stored(np.clip(steps + grid.zero_point, -128, 127).astype(np.int8), grid)


def concatenate(w: Writer, node: Node, grid: Grid | None) -> Value:
    """CONCATENATION, each part requantized to the output's grid first, as the kernel asks."""
    parts = [w.read(part) for part in argument(node, 0)]
    last = any(part.last for part in parts)
    shape = w.shapes[node.name]
    inputs = [w.requantized(w.arranged(part, last), grid, operand=True).tensor for part in parts]
    axis = place_of(argument(node, 1, 0), len(shape), last)
    return w.emit(
        "CONCATENATION", inputs, shape, grid, "ConcatenationOptions", last=last, axis=axis
    )


def pointwise(code: str, options: str = "", **values: Any) -> Emit:
    """An operator of one tensor, value by value."""

    def emit(w: Writer, node: Node, grid: Grid | None) -> Value:
        x = w.read(node.args[0])
        return w.emit(code, (x.tensor,), x.shape, grid, options, last=x.last, **values)

    return emit


def matmul(w: Writer, node: Node, grid: Grid | None) -> Value:
    """BATCH_MATMUL of two tensors of one rank, from 2 on."""
    one, other = (w.arranged(w.read(a), last=False) for a in node.args[:2])
    if len(one.shape) != len(other.shape) or len(one.shape) < 2:
        raise unsupported(node, f"ranks {len(one.shape)} and {len(other.shape)} differ")
    inputs = (one.tensor, other.tensor)
    return w.emit("BATCH_MATMUL", inputs, w.shapes[node.name], grid, "BatchMatMulOptions")


def leaky_relu(w: Writer, node: Node, grid: Grid | None) -> Value:
    """LEAKY_RELU."""
    slope = float(argument(node, 1, 0.01))
    return pointwise("LEAKY_RELU", "LeakyReluOptions", alpha=slope)(w, node, grid)


def softmax(w: Writer, node: Node, grid: Grid | None) -> Value:
    """SOFTMAX or LOG_SOFTMAX, which the kernels compute along the axis that lies last."""
    x = w.read(node.args[0])
    rank = len(x.shape)
    axis = int(argument(node, 1)) % rank
    if axis not in (1, rank - 1):
        raise unsupported(node, f"it is along axis {axis}, neither the channels nor the last")
    x = w.arranged(x, last=axis == 1 and rank > 2)
    logarithm = op_name(node) == "log_softmax"
    code, options = ("LOG_SOFTMAX", "LogSoftmax") if logarithm else ("SOFTMAX", "Softmax")
    values: dict[str, Any] = {} if logarithm else {"beta": 1.0}
    return w.emit(code, (x.tensor,), x.shape, grid, f"{options}Options", last=x.last, **values)


LAYERS: dict[str, Emit] = {
    "conv1d": conv,
    "conv2d": conv,
    "linear": linear,
    "matmul": matmul,
    "bmm": matmul,
    "mm": matmul,
    "add": two_operands,
    "mul": two_operands,
    "sub": two_operands,
    "maximum": two_operands,
    "minimum": two_operands,
    "cat": concatenate,
    "adaptive_avg_pool2d": global_average,
    "avg_pool1d": average_pool,
    "avg_pool2d": average_pool,
    "max_pool1d": max_pool,
    "max_pool2d": max_pool,
    "sigmoid": pointwise("LOGISTIC"),
    "relu": pointwise("RELU"),
    "leaky_relu": leaky_relu,
    "softmax": softmax,
    "log_softmax": softmax,
}
