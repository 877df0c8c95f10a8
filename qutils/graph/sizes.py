"""Sizes of open axes that a pass took from a traced shape are computed when the graph runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Proxy
from torch.fx.node import map_aggregate
from torch.fx.proxy import GraphAppendingTracer
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis


def compute_open_sizes(module: GraphModule) -> None:
    """Replace each symbolic size among arguments by operators that compute it, in place.

    A pass that writes ``reshape(x, [-1, 4, height // 2])`` has a symbol there; the graph needs a
    node. Sizes of inputs are read once, in front of the first operator.
    """
    readers = [node for node in module.graph.nodes if _has_symbol(node.args)]
    if not readers:
        return
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    known = dict(_read_sizes(module, places))
    for node in readers:
        with module.graph.inserting_before(node):
            node.args = _mapped(node.args, lambda one: _computed(one, known))


def _mapped(args: Any, change: Callable[[Any], Any]) -> Any:
    return map_aggregate(args, change)


def _has_symbol(args: Any) -> bool:
    found: list[Any] = []
    _mapped(args, found.append)
    return any(isinstance(one, torch.SymInt) for one in found)


def _read_sizes(module: GraphModule, places: list[Any]) -> Iterator[tuple[Any, Proxy]]:
    """For each symbol a node that reads it from the first input that has it."""
    tracer = GraphAppendingTracer(module.graph)
    seen: set[Any] = set()
    for node in places:
        for axis, size in enumerate(node.meta["val"].shape):
            if not isinstance(size, torch.SymInt) or size.node.expr in seen:
                continue
            seen.add(size.node.expr)
            with module.graph.inserting_after(places[-1]):
                reader = module.graph.call_function(torch.ops.aten.sym_size.int, (node, axis))
            reader.meta["val"] = size
            yield size.node.expr, Proxy(reader, tracer)


def _computed(value: Any, known: dict[Any, Proxy]) -> Any:
    """The node that computes a symbolic size; other values as they are."""
    if not isinstance(value, torch.SymInt):
        return value
    found: Any = sympy_interp(PythonReferenceAnalysis, known, value.node.expr)
    if not isinstance(found, Proxy):
        return int(found)
    found.node.meta["val"] = value
    return found.node
