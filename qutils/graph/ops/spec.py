"""The record of one operator: how it is quantized, and what its integer kernel computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch.fx import Node

from qutils.numerics.exact.values import Quantized, Unrounded

#: ``weighted``: int8 weights as the second argument, a bias as the third. ``product``: of two
#: activations. ``requantized``: its result gets a scale of its own. ``pass_through``: moves or
#: compares values and keeps their scale. ``fused``: the kernel before it computes it. ``clip``:
#: bounds values, and no kernel computes it.
Role = Literal["weighted", "product", "requantized", "pass_through", "fused", "clip"]
Kernel = Callable[..., Quantized | Unrounded]
#: What a ReLU-like operator lets through, ``(0, 6)`` for relu6.
Clip = Callable[[Node], tuple[float, float]]


def always(node: Node) -> bool:
    """Return True: the integer form holds whatever the arguments."""
    return True


@dataclass(frozen=True)
class OpSpec:
    """One operator by its ATen name.

    Args:
        holds: whether the integer form holds for the arguments of a node.
        kernel: what a backend's integer kernel computes, exactly, of ``Quantized`` arguments: the
            result before rounding. None where values only move, or where no formula is known.
        clip: the range that it lets through, of an operator that bounds values.
    """

    name: str
    role: Role
    holds: Callable[[Node], bool] = always
    kernel: Kernel | None = None
    clip: Clip | None = None
    rank: int = 1000  # place in lists

    @property
    def is_fused(self) -> bool:
        """Whether a kernel before it may compute it: an activation whose range is known."""
        return self.role == "fused" or (self.role == "pass_through" and self.clip is not None)
