"""Matrix products in the forms that integer kernels know; the numbers stay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.fold import untrained
from qutils.graph.nodes import argument, constant, insert, is_float, op_name
from qutils.graph.ops import names
from qutils.graph.parameters import new_parameter, trains

_ATEN = torch.ops.aten
#: Operators through which a factor passes unchanged.
_ARRANGES = ("transpose", "permute", "view", "reshape", "_unsafe_view", "unsqueeze", "expand")


def rewrite_products(module: GraphModule) -> None:
    """Apply every rewrite of matrix products to ``module``, in place."""
    for node in list(module.graph.nodes):
        op = op_name(node)
        if op in ("addmm", "baddbmm"):
            node = _without_addend(module, node)
        if op_name(node) in names("product"):
            _replace_by_linear(module, node)
    for node in list(module.graph.nodes):
        if op_name(node) in names("product"):
            for place in (0, 1):
                _delay_factor(module, node, place)


def _without_addend(module: GraphModule, node: Node) -> Node:
    """``addmm(c, a, b)`` becomes ``a b + c``, or one linear layer; return the product."""
    addend, first, second = node.args[:3]
    if node.kwargs.get("beta", 1) != 1 or node.kwargs.get("alpha", 1) != 1:
        return node
    bias, weight = constant(module, addend), constant(module, second)
    is_layer = bias is not None and weight is not None and weight.ndim == 2
    if is_layer and op_name(node) == "addmm" and bias.shape == weight.shape[1:]:  # type: ignore[union-attr]
        _into_linear(module, node, first, second, addend)
        return node
    value = node.meta["val"]
    product = insert(node, _ATEN.matmul.default, (first, second), value)
    node.replace_all_uses_with(insert(node, _ATEN.add.Tensor, (product, addend), value))
    module.graph.erase_node(node)
    return product


def _replace_by_linear(module: GraphModule, node: Node) -> None:
    """``x W`` with a stored matrix ``W`` ``[I, O]`` becomes a linear layer without bias."""
    weight = constant(module, node.args[1])
    if weight is None or weight.ndim != 2 or not is_float(node.args[0]):  # type: ignore[arg-type]
        return
    _into_linear(module, node, node.args[0], node.args[1], None)


def _into_linear(module: GraphModule, node: Node, x: Any, weight: Any, bias: Any) -> None:
    stored: Any = constant(module, weight)
    turned: Tensor = stored.detach().T.contiguous()
    path = str(weight.target)
    with module.graph.inserting_before(node):
        new = new_parameter(
            module,
            path,
            turned,
            node,
            trainable=trains(stored),
            untrained=untrained(module, weight),
        )
    node.target, node.kwargs = _ATEN.linear.default, {}
    node.args = (x, new) if bias is None else (x, new, bias)
    module.graph.eliminate_dead_code()


def _delay_factor(module: GraphModule, node: Node, place: int) -> None:
    """``(c a) b`` becomes ``c (a b)`` for a number ``c``: kernels then read ``a`` as it is."""
    if node.args[0] is node.args[1]:
        return  # the factor would be applied once instead of twice
    path, operand = [node], node.args[place]
    while op_name(operand) in _ARRANGES and len(operand.users) == 1:  # type: ignore[arg-type, union-attr]
        path.append(operand)  # type: ignore[arg-type]
        operand = operand.args[0]  # type: ignore[union-attr]
    found = _factor(operand)
    if found is None or len(operand.users) > 1:  # type: ignore[union-attr]
        return
    source, factor = found
    path[-1].replace_input_with(operand, source)  # type: ignore[arg-type]
    scaled = insert(node.next, _ATEN.mul.Tensor, (node, factor), node.meta["val"])
    scaled.meta = {**node.meta}
    node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
    module.graph.erase_node(operand)  # type: ignore[arg-type]


def _factor(node: Any) -> tuple[Node, float] | None:
    """The tensor and the number that a node multiplies; None for other nodes."""
    if op_name(node) not in ("mul", "div") or not isinstance(node, Node) or node.kwargs:
        return None
    source, number = node.args[0], argument(node, 1)
    if isinstance(source, int | float):
        source, number = number, source
        if op_name(node) == "div":
            return None
    if op_name(node) == "div" and number == 0:
        return None
    if not isinstance(number, int | float) or not isinstance(source, Node) or not is_float(source):
        return None
    return source, float(1 / number if op_name(node) == "div" else number)
