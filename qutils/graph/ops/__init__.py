"""The operators that have integer forms, one file a family; OPS."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch.fx import Node

from qutils.discovery import Discovered
from qutils.graph.nodes import op_name
from qutils.graph.ops.spec import Clip, Kernel, OpSpec, Role, always

#: Every operator by ATen name: ``RECORDS`` of each module of this package.
OPS: Mapping[str, OpSpec] = Discovered("qutils.graph.ops", "RECORDS")


def names(*roles: Role) -> tuple[str, ...]:
    """Return the ATen names of the operators of these roles.

    >>> names("product")
    ('bmm', 'matmul', 'mm')
    """
    return tuple(name for name, spec in OPS.items() if spec.role in roles)


def clip_range(node: Node) -> tuple[float, float]:
    """Return what a ReLU-like op lets through, ``(0, 6)`` for relu6; ``(-inf, inf)`` where unknown.

    A bound that is a tensor counts as unknown.
    """
    spec = OPS.get(op_name(node))
    return spec.clip(node) if spec is not None and spec.clip is not None else (-math.inf, math.inf)


__all__ = ["OPS", "Clip", "Kernel", "OpSpec", "Role", "always", "clip_range", "names"]
