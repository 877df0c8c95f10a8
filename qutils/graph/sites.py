"""The plan of a quantized graph, as data: sites, biases, and the nodes that stay in float."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Role = Literal["boundary", "weight", "activation"]
#: Why a node stays in float: the backend has no integer kernel for it; the caller asked for it
#: (``keep_float``); a mask was added to its scores; its result weighs values in a product, for
#: which its kernel's scale is coarse; it turns logits into probabilities at the end; or it has a
#: kernel, but works on values that float operators compute or read, so that integers would only
#: round them.
FloatReason = Literal["no kernel", "kept", "masked", "weighs", "ending", "beside float"]


@dataclass(frozen=True)
class Site:
    """One tensor to quantize: the output of ``node``, under a name people recognize.

    ``ceiling`` is the largest value that a fused activation lets through (6 after a ReLU6). A
    range that ends there expresses the activation; one that reached further could not replace it.
    ``fixed`` is the range that the kernel's result always has, if it has one.
    """

    name: str  # "stage1.conv1", "stage1.conv1.weight", "input"
    role: Role
    node: str
    layer: str
    ceiling: float = math.inf
    fixed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bias:
    """An int32 bias of scale ``scale(input) * scale(weight)``, read by the layer ``consumer``."""

    consumer: str
    node: str
    input: str  # site names
    weight: str


@dataclass(frozen=True)
class Placement:
    """All sites of a graph.

    ``sites`` maps node names to the site that quantizes their value; pass-through nodes appear in
    ``shared`` with the node whose site they keep. ``in_float`` maps the nodes that stay in float
    to the reason; those that no integer kernel reads have no site. ``keep_float`` names the modules
    that the caller asked to keep in float.
    """

    sites: dict[str, Site]
    shared: dict[str, str]
    biases: tuple[Bias, ...]
    in_float: dict[str, FloatReason]
    keep_float: tuple[str, ...] = ()

    @property
    def float_nodes(self) -> tuple[str, ...]:
        """The nodes that stay in float, in order of execution."""
        return tuple(self.in_float)
