"""Arithmetic with numbers and stored tensors in the two forms that have integer kernels.

``x - c`` becomes ``x + (-c)`` and ``x / c`` becomes ``x * (1 / c)``, ``c`` stored as a tensor.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import constant, is_float, op_name
from qutils.graph.picks import stored

_ATEN = torch.ops.aten
_SUMS, _QUOTIENTS = ("add", "sub"), ("mul", "div")


def rewrite_scalars(module: GraphModule) -> None:
    """Replace ``add``, ``sub``, ``mul`` and ``div`` by a constant, in place.

    Parameters stay as they are: a reciprocal would train otherwise than what it was made from.
    """
    for node in list(module.graph.nodes):
        op = op_name(node)
        if (
            op == "rsub"
            and is_float(node)
            and is_float(node.args[0])
            and isinstance(node.args[1], int | float)
            and len(node.args) == 2
        ):
            number = stored(module, node, "number", torch.tensor(float(node.args[1])))
            node.target, node.args, node.kwargs = _ATEN.sub.Tensor, (number, node.args[0]), {}
            continue
        if op not in (*_SUMS, *_QUOTIENTS) or not is_float(node) or "rounding_mode" in node.kwargs:
            continue
        x, value = _operands(module, node)
        if x is None or value is None:
            continue
        if op in ("sub", "div"):
            value = -value if op == "sub" else 1 / value
        if not torch.isfinite(value).all():  # a mask of -inf, a division by zero
            continue
        target = _ATEN.add.Tensor if op in _SUMS else _ATEN.mul.Tensor
        node.args, node.kwargs = (x, stored(module, node, "number", value)), {}
        node.target = target


def _operands(module: GraphModule, node: Node) -> tuple[Any, Tensor | None]:
    """The computed operand and the constant one, ``alpha`` included; (None, None) if not so."""
    x, c = node.args[:2]
    op, alpha = op_name(node), node.kwargs.get("alpha", 1)
    if isinstance(x, int | float) and op in ("add", "mul") and alpha == 1:
        x, c = c, x
    if not isinstance(x, Node) or not is_float(x) or not isinstance(alpha, int | float):
        return None, None
    if isinstance(c, int | float) and math.isfinite(c):
        return x, torch.tensor(float(c)) * alpha
    value = constant(module, c)
    buffer = value is not None and not isinstance(value, torch.nn.Parameter)
    if buffer and value is not None and value.is_floating_point() and op in ("sub", "div"):
        return x, value.detach() * alpha
    return None, None
