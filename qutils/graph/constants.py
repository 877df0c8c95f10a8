"""Fold what a graph computes from parameters alone: normalized, standardized or masked weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from qutils.errors import InvalidInputError
from qutils.graph.nodes import attribute, constant, op_name
from qutils.graph.parameters import UNTRAINED, free_path, register, remove, trains

#: ``torch.nn.utils.parametrize`` keeps ``conv.weight`` under such names.
_PARAMETRIZED = re.compile(r"^(?:(.+)\.)?parametrizations\.(\w+)\.original\d*$")
#: Endings of the tensors from which hooks (weight_norm, spectral_norm, prune) make a weight.
_HOOKED = re.compile(r"_(?:g|v|u|orig|mask)$")
_TEMPORARY = "_folded"
#: Number of elements up to which a value made from no stored tensor, a mask say, is stored.
LARGEST = 1 << 20


@dataclass(frozen=True)
class _Source:
    """A stored tensor that a result is computed from."""

    path: str
    tensor: Tensor
    untrained: tuple[str, ...]  # folded into it, though not frozen


def fold_constants(module: GraphModule) -> int:
    """Replace each value that depends on parameters and buffers alone; return how many.

    ``module`` is changed in place (it is the capture's own copy). The operators run once, as the
    model would run them at every call: the result is exact. It is stored under the name of the
    parameter it stands for, ``conv.weight`` for a weight-normalized ``conv``, and is a parameter if
    it was made from one. It trains if all parameters in it do. An ``expand`` stays in the graph:
    stored, it would repeat its values. So does a large mask that is made from numbers alone.

    Raises:
        InvalidInputError: a result holds NaN or Inf (the weight norm of a zero filter, say).
    """
    known = _constant_nodes(module)
    results = [node for node in known if _is_result(node, known)]
    values = _computed(module, known, results)
    sources = [_sources_of(module, node) for node in results]
    folded = [
        _replace(module, node, values[node], known, f"{_TEMPORARY}_{number}")
        for number, node in enumerate(results)
    ]
    _erase_unread(module, known)  # so that the names of what was folded are free
    for node, read in zip(folded, sources, strict=True):
        _settle(module, node, read)
    module.recompile()
    return len(results)


def _constant_nodes(module: GraphModule) -> dict[Node, bool]:
    """Nodes that no input reaches, in order, and whether each depends on a stored tensor."""
    written = {source for node in module.graph.nodes if _writes(node) for source in _sources(node)}
    known: dict[Node, bool] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr" and node not in written and constant(module, node) is not None:
            known[node] = True
        elif node.op == "call_function" and _repeats(node):
            inputs = node.all_input_nodes
            if all(source in known for source in inputs):
                known[node] = any(known[source] for source in inputs)
    return known


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and bool(schema is not None and schema.is_mutable)


def _sources(node: Node) -> list[Node]:
    return [source for source in node.all_input_nodes if source.op == "get_attr"]


def _repeats(node: Node) -> bool:
    """Whether an operator gives the same result at every call."""
    tags = getattr(node.target, "tags", ())
    return not _writes(node) and torch.Tag.nondeterministic_seeded not in tags


def _is_result(node: Node, known: dict[Node, bool]) -> bool:
    """Whether something that is not constant itself reads the tensor that ``node`` computes."""
    value = node.meta.get("val")
    if node.op != "call_function" or op_name(node) == "expand" or not isinstance(value, Tensor):
        return False
    stores = known[node] or (value.is_floating_point() and value.numel() <= LARGEST)
    return stores and any(user not in known or op_name(user) == "expand" for user in node.users)


def _computed(
    module: GraphModule, known: dict[Node, bool], results: list[Node]
) -> dict[Node, Tensor]:
    """Run the operators behind the results, each once."""
    needed: set[Node] = set()
    left = list(results)
    while left:
        node = left.pop()
        if node not in needed:
            needed.add(node)
            left += node.all_input_nodes
    values: dict[Node, Any] = {}
    with torch.no_grad():
        for node in (n for n in known if n in needed):
            if node.op == "get_attr":
                values[node] = attribute(module, str(node.target))
                continue
            args: Any = map_arg(node.args, values.__getitem__)
            kwargs: Any = map_arg(node.kwargs, values.__getitem__)
            values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    return {node: values[node].detach().clone() for node in results}


def _sources_of(module: GraphModule, result: Node) -> list[_Source]:
    """Return the stored tensors that a result is computed from, in the order of its arguments."""
    found: dict[Node, None] = {}
    left = [result]
    while left:
        node = left.pop(0)
        left += node.all_input_nodes
        if node.op == "get_attr":
            found[node] = None
    return [
        _Source(str(n.target), attribute(module, str(n.target)), n.meta.get(UNTRAINED, ()))
        for n in found
    ]


def _replace(
    module: GraphModule, node: Node, value: Tensor, known: dict[Node, bool], path: str
) -> Node:
    """Let what read the computed tensor read a stored one, under a name for the time being."""
    register(module, path, value)
    with module.graph.inserting_before(node):
        new = module.graph.get_attr(path)
    new.meta = {**node.meta, "val": value}
    for user in list(node.users):
        if user not in known or op_name(user) == "expand":
            user.replace_input_with(node, new)
    return new


def _erase_unread(module: GraphModule, known: dict[Node, bool]) -> None:
    """Erase constant nodes that nothing reads any more, and the tensors behind them."""
    for node in reversed(known):
        if not node.users and (node.op == "call_function" or known[node]):
            module.graph.erase_node(node)
    left = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for path in {str(node.target) for node in known if node.op == "get_attr"} - left:
        remove(module, path)


def _settle(module: GraphModule, temporary: Node, sources: list[_Source]) -> None:
    """Store a result for good: its name, whether it is a parameter, whether it trains."""
    value = attribute(module, str(temporary.target))
    remove(module, str(temporary.target))
    path = free_path(module, _name(sources, value), set(temporary.users))
    if value.is_floating_point() and value.isnan().any():
        names = ", ".join(source.path for source in sources)
        raise InvalidInputError(
            f"The value that the model computes from {names} holds NaN: a division by a norm or "
            "spread of zero, say. Load sound weights."
        )
    parameters = [source for source in sources if isinstance(source.tensor, nn.Parameter)]
    learning = [source.path for source in parameters if trains(source.tensor)]
    learning += [name for source in sources for name in source.untrained]
    frozen = any(not trains(source.tensor) for source in parameters)
    if parameters and value.is_floating_point():
        value = nn.Parameter(value, requires_grad=not frozen)
    register(module, path, value)
    with module.graph.inserting_before(temporary):
        node = module.graph.get_attr(path)
    node.meta = {**temporary.meta, "val": value}
    if frozen and learning:
        node.meta[UNTRAINED] = tuple(dict.fromkeys(learning))
    temporary.replace_all_uses_with(node)
    module.graph.erase_node(temporary)


def _name(sources: list[_Source], value: Tensor) -> str:
    """Return the name of the parameter that a computed value stands for.

    That is ``conv.weight`` for what ``torch.nn.utils.parametrize`` or a hook makes of it;
    otherwise the first source of the result's shape, or the first at all.
    """
    if not sources:
        return "constant"
    for source in sources:
        found = _PARAMETRIZED.match(source.path)
        if found is not None:
            return ".".join(filter(None, found.groups()))
    stems = {_HOOKED.sub("", source.path) for source in sources}
    if len(sources) > 1 and len(stems) == 1:
        return stems.pop()
    alike = [source for source in sources if source.tensor.shape == value.shape]
    ordered = sorted(alike or sources, key=lambda s: not isinstance(s.tensor, nn.Parameter))
    return ordered[0].path
