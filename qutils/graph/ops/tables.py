"""Functions of one value, which kernels look up in tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from qutils.graph.nodes import argument
from qutils.graph.ops.rounding import of_value
from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.values import Quantized, Unrounded


def tabled(function: Callable[..., Tensor], x: Quantized, *rest: Any, **options: Any) -> Unrounded:
    """``qy = table[qx]``, of 256 entries ``round(function(sx (qx - zx)) / sy) + zy``."""
    return of_value(function(x.value(), *rest, **options))


def prelu(x: Quantized, slope: Quantized) -> Unrounded:
    """``qy = round(x / sy) + zy``, negative ``x`` times its slope; slopes ``[C]`` or ``[1]``."""
    return of_value(F.prelu(x.value(), slope.value()))


def _is_plain_elu(node: Node) -> bool:
    """Return True for ``exp(x) - 1`` of negative values, without factors."""
    return all(argument(node, place, 1) == 1 for place in (1, 2, 3))


def _stores_slopes(node: Node) -> bool:
    slope = node.args[1]
    return isinstance(slope, Node) and slope.op == "get_attr"


def _of_table(name: str, function: Callable[..., Tensor], rank: int) -> OpSpec:
    return OpSpec(name, "requantized", kernel=partial(tabled, function), rank=rank)


RECORDS = (
    _of_table("sigmoid", torch.sigmoid, 60),
    _of_table("leaky_relu", F.leaky_relu, 61),
    OpSpec("softmax", "requantized", rank=62),
    OpSpec("log_softmax", "requantized", rank=63),
    _of_table("tanh", torch.tanh, 64),
    _of_table("gelu", F.gelu, 65),
    OpSpec("elu", "requantized", _is_plain_elu, partial(tabled, F.elu), rank=66),
    _of_table("hardswish", F.hardswish, 67),
    _of_table("hardsigmoid", F.hardsigmoid, 68),
    OpSpec("prelu", "requantized", _stores_slopes, prelu, rank=69),
    _of_table("abs", torch.abs, 70),
)
