"""Operators that LiteRT computes in float between its int8 kernels: REAL_LAYERS."""

from __future__ import annotations

import math

import numpy as np
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_layers import Emit, pointwise, two_operands
from qutils.backends.litert.tflite_values import Value, Writer
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


REAL_LAYERS: dict[str, Emit] = {
    "div": two_operands,
    "relu6": pointwise("RELU6"),
    "neg": pointwise("NEG", "NegOptions"),
    "sqrt": pointwise("SQRT"),
    "rsqrt": pointwise("RSQRT"),
    "log": pointwise("LOG"),
    "pow": two_operands,
    "clamp": clamp,
    "clamp_min": clamp,
    "hardtanh": clamp,
    "exp": pointwise("EXP", "ExpOptions"),
}
