"""Small questions about FX nodes: what op is it, which layer wrote it, what tensor is it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_flatten, tree_unflatten


def op_name(node: Node) -> str:
    """ATen name without namespace and overload: ``aten.conv2d.default -> conv2d``; else ''."""
    if node.op != "call_function":
        return ""
    if node.target is operator.getitem:
        return "getitem"
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).split("::")[-1] if schema is not None else str(node.target)


def made_by(node: Node) -> Node:
    """The node that computes: an item of a tuple, an LSTM's say, goes by what made the tuple."""
    source = node.args[0] if op_name(node) == "getitem" else node
    return source if isinstance(source, Node) else node


def layer_of(node: Node) -> str:
    """Path of the module the node came from, ``stage1.conv1``; the op's name at top level."""
    stack = node.meta.get("nn_module_stack") or {}
    path = [entry[0] for entry in stack.values()][-1] if stack else ""
    return path.removeprefix("L__self__").strip(".") or op_name(node) or node.name


def attribute(module: nn.Module, path: str) -> Any:
    """The attribute at a dotted path: ``stage1.conv1.weight``."""
    return operator.attrgetter(path)(module)


def constant(module: GraphModule, node: Any) -> Tensor | None:
    """The tensor behind a ``get_attr`` node, or None."""
    if isinstance(node, Node) and node.op == "get_attr":
        value = attribute(module, str(node.target))
        return value if isinstance(value, Tensor) else None
    return None


def outputs_of(module: GraphModule) -> list[Node]:
    """Return the nodes whose values the graph returns."""
    output = next(node for node in module.graph.nodes if node.op == "output")
    given = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    return [value for value in given if isinstance(value, Node)]


def stored(module: GraphModule, name: str) -> Tensor:
    """The tensor that the ``get_attr`` node called ``name`` reads: a weight, by its site's node."""
    node = next(n for n in module.graph.nodes if n.name == name)
    value: Tensor = attribute(module, str(node.target))
    return value.detach()


def read_by(module: GraphModule, nodes: Iterable[Node]) -> dict[str, Tensor]:
    """The stored tensors that these nodes read, lists of them included, by name."""
    sources = (source for node in nodes for source in node.all_input_nodes)
    return {str(s.target): attribute(module, str(s.target)) for s in sources if s.op == "get_attr"}


def is_settled(module: GraphModule, operand: Any) -> bool:
    """Whether an operand is absent or stored in the module: not computed when the graph runs."""
    return operand is None or constant(module, operand) is not None


def is_float(node: Node) -> bool:
    """Whether the node's value is one floating-point tensor (sizes and indices are not)."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def elements(node: Node) -> int:
    """Return the number of elements of the node's value, for the batch it was traced with."""
    value = node.meta.get("val")
    sizes = value.shape if isinstance(value, torch.Tensor) else ()
    return math.prod(plain_size(size) for size in sizes)


def plain_size(size: int | torch.SymInt) -> int:
    """A size as a number, an open batch as it was traced."""
    return size if isinstance(size, int) else int(size.node.hint)


def float_inputs(node: Node) -> list[Node]:
    """Inputs that are floating-point tensors, in order."""
    return [n for n in node.all_input_nodes if is_float(n)]


def argument(node: Node, index: int, default: Any = None) -> Any:
    """Positional argument ``index``, or ``default`` when it was left out."""
    return node.args[index] if index < len(node.args) else default


def insert(before: Node, target: Any, args: tuple[Any, ...], value: Tensor) -> Node:
    """A new call in front of ``before``, of the same layer; ``value`` is the shape it makes.

    Sizes of open axes among ``args`` are computed by nodes of their own.
    """
    with before.graph.inserting_before(before):
        node = before.graph.call_function(target, _settled(before, args))
    node.meta = {**before.meta, "val": value}
    return node


def _settled(before: Node, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments with a node in place of each symbolic size."""
    leaves, spec = tree_flatten(args)
    symbols = [leaf for leaf in leaves if isinstance(leaf, torch.SymInt)]
    if not symbols:
        return args
    made = iter(before.graph.materialize_symints(symbols))
    settled = [next(made) if isinstance(leaf, torch.SymInt) else leaf for leaf in leaves]
    found: tuple[Any, ...] = tree_unflatten(settled, spec)
    return found
