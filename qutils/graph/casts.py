"""Casts to the type that a value has already, and assertions about types: nothing is computed."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import op_name

_CASTS = ("_to_copy", "type_as", "to", "_cast_Float", "float")
_ASSERTION = "_assert_tensor_metadata"


def drop_idle_casts(module: GraphModule) -> None:
    """Let readers of an idle cast read its source, and erase assertions about types; in place.

    An assertion counts as a reader of what it looks at, so that placement would round the residual
    stream of a network for it.
    """
    for node in list(module.graph.nodes):
        if op_name(node) == _ASSERTION:
            module.graph.erase_node(node)
        elif op_name(node) in _CASTS and _is_idle(node):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def _is_idle(node: Node) -> bool:
    source = node.args[0]
    if not isinstance(source, Node):
        return False
    before, after = (_kind(each.meta.get("val")) for each in (source, node))
    return before is not None and before == after


def _kind(value: Any) -> tuple[Any, ...] | None:
    if not isinstance(value, Tensor):
        return None
    return value.dtype, value.device, value.layout
