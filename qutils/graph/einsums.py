"""Einsums as what they are: a linear layer with a stored matrix, or a product of two matrices.

An index of an equation is one of four: in both operands and in the result (batch), in both alone
(summed), in the left and the result (rows), in the right and the result (columns).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import constant, insert, is_float, op_name, plain_size
from qutils.graph.parameters import UNTRAINED, new_parameter, trains

_PLAIN = re.compile(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)")


@dataclass(frozen=True)
class Equation:
    """``left,right->result`` in which no operand repeats an index or sums one of its own."""

    left: str
    right: str
    result: str

    @classmethod
    def read(cls, text: str) -> Equation | None:
        """Return the equation of two operands, or None for any other.

        >>> Equation.read("bqd,bkd->bqk")
        Equation(left='bqd', right='bkd', result='bqk')
        """
        found = _PLAIN.fullmatch(text.replace(" ", ""))
        if found is None:
            return None
        left, right, result = found.groups()
        once = all(len(set(part)) == len(part) for part in (left, right, result))
        own = set(left) ^ set(right)
        kept = own <= set(result) <= set(left) | set(right)
        return cls(left, right, result) if once and kept else None

    @property
    def batch(self) -> str:
        """Indices of both operands and the result."""
        return "".join(i for i in self.result if i in self.left and i in self.right)

    @property
    def summed(self) -> str:
        """Indices of both operands alone."""
        return "".join(i for i in self.left if i in self.right and i not in self.result)

    @property
    def rows(self) -> str:
        """Indices of the left operand and the result."""
        return "".join(i for i in self.left if i not in self.right)

    @property
    def columns(self) -> str:
        """Indices of the right operand and the result."""
        return "".join(i for i in self.right if i not in self.left)

    @property
    def swapped(self) -> Equation:
        """The same with the operands the other way round."""
        return Equation(self.right, self.left, self.result)


def multiply_adds(node: Node) -> int:
    """Return the product of the sizes of all indices of an einsum; 0 if it has an ellipsis."""
    terms = str(node.args[0]).replace(" ", "").split("->")[0].split(",")
    operands: Any = node.args[1]
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        if "." in term:
            return 0
        sizes |= zip(term, map(plain_size, operand.meta["val"].shape), strict=True)
    return math.prod(sizes.values())


def rewrite_einsums(module: GraphModule) -> None:
    """Replace einsums of two operands by ``linear`` or ``matmul`` between permutations, in place.

    ``linear`` where one operand is a stored matrix and no index is batch; ``matmul`` where exactly
    one index is summed, one row and one column. Others stay as they are.
    """
    for node in [n for n in module.graph.nodes if op_name(n) == "einsum" and is_float(n)]:
        equation, operands = Equation.read(str(node.args[0])), node.args[1]
        if equation is None or len(operands) != 2:
            continue
        first, second = operands
        if constant(module, first) is not None:
            equation, first, second = equation.swapped, second, first
        if constant(module, first) is not None or not is_float(first):
            continue
        if not _fits(equation, first, second):
            continue
        if constant(module, second) is not None and _is_linear(equation):
            _linear(module, node, equation, first, second)
        elif len(equation.summed) == len(equation.rows) == len(equation.columns) == 1:
            _matmul(node, equation, first, second)


def _fits(equation: Equation, first: Node, second: Node) -> bool:
    """Whether both operands have the same size along each index; einsum also repeats a size 1."""
    sizes = dict(zip(equation.left, first.meta["val"].shape, strict=True))
    pairs = zip(equation.right, second.meta["val"].shape, strict=True)
    return all((size == 1) == (sizes.get(index, size) == 1) for index, size in pairs)


def _is_linear(equation: Equation) -> bool:
    sizes = len(equation.summed), len(equation.columns)
    return not equation.batch and bool(equation.rows) and sizes == (1, 1)


def _linear(
    module: GraphModule, node: Node, equation: Equation, source: Node, matrix: Node
) -> None:
    value = constant(module, matrix)
    assert value is not None
    order = [equation.right.index(i) for i in (equation.columns, equation.summed)]
    with module.graph.inserting_before(node):
        weight = new_parameter(
            module,
            str(matrix.target),
            value.detach().permute(order).contiguous(),
            node,
            trainable=trains(value),
            untrained=matrix.meta.get(UNTRAINED, ()),
        )
    arranged = _permuted(node, source, equation.left, equation.rows + equation.summed)
    made = equation.rows + equation.columns
    _finish(node, torch.ops.aten.linear.default, (arranged, weight), made, equation.result)


def _matmul(node: Node, equation: Equation, first: Node, second: Node) -> None:
    batch, rows = equation.batch, equation.rows
    left = _permuted(node, first, equation.left, batch + rows + equation.summed)
    right = _permuted(node, second, equation.right, batch + equation.summed + equation.columns)
    made = batch + rows + equation.columns
    _finish(node, torch.ops.aten.matmul.default, (left, right), made, equation.result)


def _permuted(node: Node, source: Node, have: str, want: str) -> Node:
    """``source`` with its axes in another order, before ``node``."""
    if have == want:
        return source
    order = [have.index(index) for index in want]
    value: Tensor = source.meta["val"].permute(order)
    return insert(node, torch.ops.aten.permute.default, (source, order), value)


def _finish(node: Node, target: Any, args: tuple[Node, ...], made: str, want: str) -> None:
    """Compute ``target(*args)`` with axes ``made`` in place of ``node`` with axes ``want``."""
    value: Tensor = node.meta["val"].permute([want.index(index) for index in made])
    product = insert(node, target, args, value)
    node.replace_all_uses_with(_permuted(node, product, made, want))
    node.graph.erase_node(node)
