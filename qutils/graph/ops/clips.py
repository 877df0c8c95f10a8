"""Activations that bound values: ReLU and its kin."""

from __future__ import annotations

import math

from torch.fx import Node

from qutils.graph.nodes import argument
from qutils.graph.ops.spec import OpSpec


def _hardtanh(node: Node) -> tuple[float, float]:
    return _bounds(argument(node, 1, -1.0), argument(node, 2, 1.0))


def _clamp(node: Node) -> tuple[float, float]:
    low = argument(node, 1, node.kwargs.get("min"))
    return _bounds(low, argument(node, 2, node.kwargs.get("max")))


def _bounds(low: object, high: object) -> tuple[float, float]:
    if isinstance(low, Node) or isinstance(high, Node):  # computed when the graph runs
        return -math.inf, math.inf
    return (
        float(low) if isinstance(low, int | float) else -math.inf,
        float(high) if isinstance(high, int | float) else math.inf,
    )


RECORDS = (
    OpSpec("relu", "pass_through", clip=lambda node: (0.0, math.inf), rank=80),
    OpSpec("relu6", "fused", clip=lambda node: (0.0, 6.0), rank=81),
    OpSpec("hardtanh", "fused", clip=_hardtanh, rank=82),
    OpSpec("clamp", "fused", clip=_clamp, rank=83),
    OpSpec("clamp_min", "clip", clip=_clamp, rank=84),
)
