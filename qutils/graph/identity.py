"""What makes two captured networks the same: operators, arguments, connections, parameter shapes.

The values of weights have no part in it. A checkpoint keeps this beside its tensors, so that it is
not opened in another network whose tensors happen to have the same names and shapes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import attribute, layer_of, op_name


@dataclass(frozen=True)
class Identity:
    """SHA-256 of a network's description, and its operators, so that a difference can be named."""

    digest: str
    operators: tuple[str, ...]  # "conv2d in module 'stem'", in order of execution

    def same_operators(self, other: Identity) -> bool:
        """Return True if both execute operators of the same kinds in the same order."""
        return [*map(_operator, self.operators)] == [*map(_operator, other.operators)]

    def difference(self, other: Identity) -> str:
        """Return where ``other`` first differs, in words; empty if the networks are the same."""
        if self.digest == other.digest:
            return ""
        pairs = zip_longest(self.operators, other.operators, fillvalue="none")
        for number, (ours, theirs) in enumerate(pairs, 1):
            if _operator(ours) != _operator(theirs):
                return f"operator {number} is {ours} there, {theirs} here"
        return "the same operators, with other arguments, connections or parameters"


def identity_of(module: GraphModule) -> Identity:
    """Describe a network: each operator with its arguments, in the order that it is executed.

    Take it before BatchNorm is folded: what later passes make of a graph may change from version to
    version, what the network is does not.
    """
    numbers: dict[Node, str] = {}
    lines: list[str] = []
    operators: list[str] = []
    for node in module.graph.nodes:
        if node.op == "get_attr":  # by name, where it is read
            value = attribute(module, str(node.target))
            shape = f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "graph"
            numbers[node] = f"{node.target} {shape}"
            continue
        numbers[node] = f"%{len(lines)}"
        given = _written(node.args, numbers), _written(node.kwargs, numbers)
        lines.append(f"{node.op} {node.target if node.op == 'call_function' else ''} {given}")
        if node.op == "call_function":
            operators.append(_spoken(node))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Identity(digest, tuple(operators))


def _spoken(node: Node) -> str:
    layer = layer_of(node)
    unknown = layer == op_name(node) or layer.startswith("_")  # of no module of the user's
    return op_name(node) if unknown else f"{op_name(node)} in module {layer!r}"


def _written(value: Any, numbers: dict[Node, str]) -> str:
    """Return an argument as text, nodes by their place in the graph."""
    if isinstance(value, Node):
        return numbers[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(member, numbers) for member in value)}]"
    if isinstance(value, dict):
        pairs = (f"{key}={_written(value[key], numbers)}" for key in sorted(value))
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def _operator(words: str) -> str:
    return words.partition(" in module ")[0]
