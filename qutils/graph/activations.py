"""Activations that a model or a file spells out, as the one operator they are; the numbers stay.

Quantized piece by piece, ``x * clip(x + 3, 0, 6) / 6`` would be rounded four times.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from qutils.graph.nodes import constant, is_float, op_name
from qutils.graph.ops import clip_range

_ATEN = torch.ops.aten
_SIXTH = 1 / 6


def rewrite_activations(module: GraphModule) -> None:
    """Replace spelled-out hard sigmoids and hard swishes, in place.

    ``hardsigmoid(x) = clip(x + 3, 0, 6) / 6`` and ``hardswish(x) = x hardsigmoid(x)``.
    Source: Howard et al. 2019, arXiv:1905.02244, section 5.2.
    """
    for node in list(module.graph.nodes):
        if op_name(node) not in ("mul", "div", "hardtanh", "relu6", "clamp"):
            continue
        x = _hard_sigmoid(module, node)
        if x is not None:
            _become(node, _ATEN.hardsigmoid.default, x)
            continue
        x = _hard_swish(module, node)
        if x is not None:
            _become(node, _ATEN.hardswish.default, x)
    module.graph.eliminate_dead_code()


def _become(node: Node, target: Any, x: Node) -> None:
    node.target, node.args, node.kwargs = target, (x,), {}


def _hard_sigmoid(module: GraphModule, node: Node) -> Node | None:
    """The ``x`` of ``clip(x + 3, 0, 6) / 6`` or ``clip(x / 6 + 1/2, 0, 1)``; None for others."""
    clipped, factor = _scaled(module, node)
    if clipped is not None and _close(factor, _SIXTH):
        return _shifted_and_clipped(module, clipped, 3.0, 6.0)
    inner = _shifted_and_clipped(module, node, 0.5, 1.0)
    if inner is None:
        return None
    x, factor = _scaled(module, inner)
    return x if _close(factor, _SIXTH) else None


def _hard_swish(module: GraphModule, node: Node) -> Node | None:
    """The ``x`` of ``x hardsigmoid(x)`` or ``x clip(x + 3, 0, 6) / 6``; None for others."""
    product, factor = _scaled(module, node)
    if product is not None and _close(factor, _SIXTH) and op_name(product) == "mul":
        for x, gate in _orders(product):
            if _shifted_and_clipped(module, gate, 3.0, 6.0) is x:
                return x
    if op_name(node) == "mul":
        for x, gate in _orders(node):
            if op_name(gate) == "hardsigmoid" and gate.args[0] is x:
                return x
    return None


def _orders(node: Node) -> list[tuple[Node, Node]]:
    a, b = node.args[:2]
    if not isinstance(a, Node) or not isinstance(b, Node):
        return []
    return [(a, b), (b, a)]


def _shifted_and_clipped(
    module: GraphModule, node: Node, offset: float, ceiling: float
) -> Node | None:
    """The ``x`` of ``clip(x + offset, 0, ceiling)``."""
    low, high = clip_range(node)
    source = node.args[0] if node.args else None
    if low != 0 or not _close(high, ceiling) or not isinstance(source, Node):
        return None
    if op_name(source) != "add" or source.kwargs:
        return None
    x, number = _with_number(module, source)
    return x if _close(number, offset) else None


def _scaled(module: GraphModule, node: Node) -> tuple[Node | None, float]:
    """The tensor and the number that multiplies it; (None, nan) for others."""
    if op_name(node) not in ("mul", "div") or node.kwargs:
        return None, math.nan
    x, number = _with_number(module, node)
    if op_name(node) == "div":
        is_divisor = x is not None and x is node.args[0] and number != 0
        return (x, 1 / number) if is_divisor else (None, math.nan)
    return x, number


def _with_number(module: GraphModule, node: Node) -> tuple[Node | None, float]:
    """The computed operand and the constant number beside it."""
    for x, c in (node.args[:2], node.args[1::-1]):
        if not isinstance(x, Node) or not is_float(x) or constant(module, x) is not None:
            continue
        if isinstance(c, int | float):
            return x, float(c)
        number = constant(module, c)
        if (
            number is not None
            and number.numel() == 1
            and number.ndim <= x.meta["val"].ndim
            and not isinstance(number, nn.Parameter)
        ):
            return x, float(number)
    return None, math.nan


def _close(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=1e-6)
