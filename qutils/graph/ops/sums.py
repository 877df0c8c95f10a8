"""Sums and products of two tensors, element by element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node

from qutils.graph.nodes import float_inputs
from qutils.graph.ops.rounding import of_value
from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.values import Grid, Quantized, Unrounded


def add(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = round(fma(qa, ra, fma(qb, rb, c)))``, ``ra = sa / sy``, ``rb = sb / sy``.

    ``c = zy - fma(ra, za, rb zb)``: both zero points leave the loop. The textbook's
    ``round((sa (qa - za) + sb (qb - zb)) / sy) + zy`` differs by one here and there.
    Source: ONNX Runtime, ``MlasQLinearAddKernel`` (AVX2).
    """

    def rounded(grid: Grid) -> Tensor:
        ra, rb = a.grid.scale / grid.scale, b.grid.scale / grid.scale
        za, zb, zy = (g.zero_point.float() for g in (a.grid, b.grid, grid))
        c = zy - _fma(ra, za, rb * zb)
        y = _fma(a.integers.float(), ra, _fma(b.integers.float(), rb, c))
        return torch.round(y).clamp(grid.qmin, grid.qmax).to(torch.int32)

    return Unrounded(rounded, lambda: a.value() + b.value())


def subtract(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = round((sa (qa - za) - sb (qb - zb)) / sy) + zy``."""
    return of_value(a.value() - b.value())


def greater(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = max(a, b)`` of both operands rounded to the grid of the result."""
    return of_value(torch.maximum(a.value(), b.value()))


def smaller(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = min(a, b)`` of both operands rounded to the grid of the result."""
    return of_value(torch.minimum(a.value(), b.value()))


def multiply(a: Quantized, b: Quantized) -> Unrounded:
    """``qy = round((qa - za) (qb - zb) (sa sb / sy) + zy)``: the zero point before rounding.

    Source: ONNX Runtime, ``MlasQLinearMulKernel``.
    """
    product = (a.integers - a.grid.zero_point) * (b.integers - b.grid.zero_point)

    def rounded(grid: Grid) -> Tensor:
        ratio = a.grid.scale * b.grid.scale / grid.scale
        y = product.float() * ratio + grid.zero_point.float()
        return torch.round(y).clamp(grid.qmin, grid.qmax).to(torch.int32)

    return Unrounded(rounded, lambda: a.value() * b.value())


def _fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``a b + c`` rounded once to float32; exact in float64 while ``a`` is an 8-bit integer."""
    return (a.double() * b.double() + c.double()).float()


def _of_two(node: Node) -> bool:
    """Return True for two tensors; a plain number or alpha is another computation."""
    operands = 1 if node.args[0] is node.args[1] else 2
    return len(float_inputs(node)) == operands and bool(node.kwargs.get("alpha", 1) == 1)


RECORDS = (
    OpSpec("add", "requantized", _of_two, add, rank=40),
    OpSpec("mul", "requantized", _of_two, multiply, rank=41),
    OpSpec("sub", "requantized", _of_two, subtract, rank=42),
    OpSpec("maximum", "requantized", _of_two, greater, rank=43),
    OpSpec("minimum", "requantized", _of_two, smaller, rank=44),
)
