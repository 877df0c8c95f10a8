"""Which operators stay in float although integer kernels exist for them.

An integer kernel of a light operator (a sum, a product, pooling) saves memory traffic between
layers that compute in integers. Beside float operators it only rounds: the residual stream of a
transformer, say, which layer norms read and sums carry on. Three conditions keep it in integers:

1. Its full-sized operands come from integers. A small float operand (the gate of a squeeze-excite
   block) is rounded at little cost.
2. No operator that is in float for want of a kernel reads its result, unless it reduces it to
   something small.
3. A layer with integer weights, or the output of the network, reads its result, directly or through
   operators that are in integers themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch.fx import GraphModule, Node

from qutils.graph.nodes import elements, float_inputs

#: A value of at most this share of another's elements counts as small.
SMALL = 1 / 4


def beside_float(
    module: GraphModule,
    light: Mapping[str, str],
    shared: Mapping[str, str],
    in_float: Collection[str],
) -> set[str]:
    """Return the light operators that are better computed in float.

    Args:
        light: operators that have an integer kernel without weights: node name -> name of the last
            node that the kernel computes (a fused activation, or the operator itself).
        shared: pass-through nodes -> the node whose scale they keep.
        in_float: nodes that stay in float in any case.
    """
    nodes: dict[str, Node] = {node.name: node for node in module.graph.nodes}
    parts = {last: first for first, last in light.items()}  # a result's name -> its operator
    demoted = {
        first for first, last in light.items() if _read_by_float(nodes[last], shared, in_float)
    }
    while True:
        found = {
            name
            for name in light.keys() - demoted
            if _reads_float(nodes[name], shared, parts, demoted, in_float)
        }
        demoted |= found
        found |= (
            light.keys()
            - demoted
            - _read_by_integers(module, light, parts, shared, demoted, in_float)
        )
        demoted |= found
        if not found:
            return demoted


def _reads_float(
    node: Node,
    shared: Mapping[str, str],
    parts: Mapping[str, str],
    demoted: Collection[str],
    in_float: Collection[str],
) -> bool:
    """Return True if float operators compute a full-sized operand."""
    for source in float_inputs(node):
        origin = shared.get(source.name, source.name)
        computed = origin in in_float or parts.get(origin) in demoted
        if computed and elements(source) > SMALL * elements(node):
            return True
    return False


def _read_by_float(node: Node, shared: Mapping[str, str], in_float: Collection[str]) -> bool:
    """Return True if an operator without kernel reads the value, in full size."""
    for user in node.users:
        if user.name in shared:
            if _read_by_float(user, shared, in_float):
                return True
        elif user.name in in_float and elements(user) > SMALL * elements(node):
            return True
    return False


def _read_by_integers(
    module: GraphModule,
    light: Mapping[str, str],
    parts: Mapping[str, str],
    shared: Mapping[str, str],
    demoted: Collection[str],
    in_float: Collection[str],
) -> set[str]:
    """Return the light operators whose result reaches a layer, or the output, through integers."""
    inside = {  # nodes between an operator and the activation fused into it
        node.name for first, last in light.items() for node in _chain(module, first, last)
    }
    wanted: set[str] = set()  # nodes whose value an integer layer reads
    kept: set[str] = set()
    for node in reversed(list(module.graph.nodes)):
        for user in node.users:
            if user.op == "output":
                reaches = node.name not in in_float
            elif user.name in shared or user.name in inside:
                reaches = user.name in wanted
            elif user.name in light:
                reaches = user.name in kept
            else:
                reaches = user.op == "call_function" and user.name not in in_float
            if reaches:
                wanted.add(node.name)
        operator = parts.get(node.name)
        if operator is not None and operator not in demoted and node.name in wanted:
            kept.add(operator)
    return kept


def _chain(module: GraphModule, first: str, last: str) -> list[Node]:
    """Return the nodes after ``first`` up to ``last``."""
    if first == last:
        return []
    node = next(n for n in module.graph.nodes if n.name == last)
    found = []
    while node.name != first:
        found.append(node)
        node = node.all_input_nodes[0]
    return found
