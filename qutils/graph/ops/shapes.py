"""Operators that move, pick or repeat values, and padding with zeros."""

from __future__ import annotations

from torch.fx import Node

from qutils.graph.nodes import argument
from qutils.graph.ops.spec import OpSpec

_NAMES = (
    "flatten",
    "view",
    "reshape",
    "_unsafe_view",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "expand",
    "slice",
    "index_select",
    "pixel_shuffle",
    "upsample_nearest2d",
)


def _pads_with_zeros(node: Node) -> bool:
    """Return True if padding adds no value of its own: with 0 it does not, with 5 it does."""
    return not argument(node, 2, 0)


def _pads_with_zeros_or_own(node: Node) -> bool:
    """As ``_pads_with_zeros``; other modes repeat values of the tensor."""
    return argument(node, 2, "constant") != "constant" or not argument(node, 3)


RECORDS = (
    *(OpSpec(name, "pass_through", rank=70) for name in _NAMES),
    OpSpec("constant_pad_nd", "pass_through", _pads_with_zeros, rank=71),
    OpSpec("pad", "pass_through", _pads_with_zeros_or_own, rank=71),
)
