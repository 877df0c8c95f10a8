"""Parameters that folding makes: under which name they are stored, and whether training moves them.

A parameter is frozen if its owner set ``requires_grad=False`` before the capture. What is folded
keeps that promise: no frozen value moves, not even as a part of a folded one.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qutils.graph.nodes import attribute

#: Entry of a node's ``meta``: parameters that would train, but were folded into a frozen one.
UNTRAINED = "untrained"


def trains(tensor: Tensor | None) -> bool:
    """Return True for a parameter that its owner did not freeze; buffers never train.

    >>> trains(nn.Parameter(Tensor(1))), trains(Tensor(1))
    (True, False)
    """
    return isinstance(tensor, nn.Parameter) and tensor.requires_grad


def frozen_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that are frozen."""
    return tuple(name for name, tensor in module.named_parameters() if not tensor.requires_grad)


def untrained_names(module: GraphModule) -> dict[str, tuple[str, ...]]:
    """Return, for each frozen tensor, the parameters folded into it that were not frozen."""
    nodes = [node for node in module.graph.nodes if node.op == "get_attr"]
    return {str(n.target): n.meta[UNTRAINED] for n in nodes if n.meta.get(UNTRAINED)}


def new_parameter(
    module: GraphModule,
    path: str,
    value: Tensor,
    layer: Node,
    *,
    trainable: bool,
    untrained: Collection[str] = (),
) -> Node:
    """Store ``value`` under ``path``, or under a fresh name where others than ``layer`` read it.

    ``untrained`` names what was folded into a frozen value although it was not frozen itself.
    """
    path = free_path(module, path, {layer})
    register(module, path, nn.Parameter(value, requires_grad=trainable))
    node = module.graph.get_attr(path)
    node.meta["val"] = value
    if untrained and not trainable:
        node.meta[UNTRAINED] = tuple(dict.fromkeys(untrained))
    return node


def bias_path(weight_path: str) -> str:
    """Where the bias of a layer without one goes: ``stem.weight -> stem.bias``."""
    parent, _, leaf = weight_path.rpartition(".")
    bias = "bias" if leaf == "weight" else f"{leaf}_bias"
    return f"{parent}.{bias}" if parent else bias


def free_path(module: GraphModule, path: str, readers: set[Node]) -> str:
    """Return ``path``, or ``path_2`` and so on where nodes other than ``readers`` read it."""
    names = (f"{path}_{n}" if n > 1 else path for n in count(1))
    return next(name for name in names if _is_free(module, name, readers))


def register(module: nn.Module, path: str, value: Tensor) -> None:
    """Store a parameter or buffer at a dotted path in place of what is there."""
    parent, leaf = _owner(module, path)
    if hasattr(parent, leaf):
        delattr(parent, leaf)
    if isinstance(value, nn.Parameter):
        parent.register_parameter(leaf, value)
    else:
        parent.register_buffer(leaf, value)


def remove(module: nn.Module, path: str) -> None:
    """Delete the parameter or buffer at a dotted path."""
    parent, leaf = _owner(module, path)
    delattr(parent, leaf)


def _owner(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, leaf = path.rpartition(".")
    return (attribute(module, parent) if parent else module), leaf


def _is_free(module: GraphModule, path: str, readers: set[Node]) -> bool:
    """Whether nothing is stored under ``path``, or ``readers`` alone read it."""
    parent, leaf = _owner(module, path)
    if getattr(parent, leaf, None) is None:
        return True
    reads = [n for n in module.graph.nodes if n.op == "get_attr" and n.target == path]
    return bool(reads) and {user for read in reads for user in read.users} <= readers
