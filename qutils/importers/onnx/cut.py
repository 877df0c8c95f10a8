"""A part of a network: its nodes up to named values, and where to cut around what is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

from qutils.errors import unknown_name
from qutils.importers.onnx.read import inputs_of


def ending_at(model: ModelProto, outputs: Sequence[str]) -> ModelProto:
    """Return the part of a model that computes these values.

    Raises:
        InvalidInputError: there is no value of a name; suggests the closest.
    """
    made = {name for node in model.graph.node for name in node.output if name}
    for name in outputs:
        if name not in made:
            raise unknown_name("output", name, sorted(made))
    part = ModelProto()
    part.CopyFrom(model)
    known = {v.name: v for v in (*model.graph.output, *model.graph.value_info)}
    del part.graph.output[:]
    part.graph.output.extend(known.get(name, ValueInfoProto(name=name)) for name in outputs)
    drop_unread(part)
    return part


def drop_unread(model: ModelProto) -> None:
    """Remove nodes, tensors and inputs that no output needs, in place."""
    needed = {value.name for value in model.graph.output}
    kept: list[NodeProto] = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(reads(node))
    graph = model.graph
    if len(kept) == len(graph.node):
        return
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for field in (graph.initializer, graph.input):
        for item in [item for item in field if item.name not in needed]:
            field.remove(item)


def reads(node: NodeProto) -> set[str]:
    """Return the names that a node reads, those that its subgraphs read from outside included."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            found |= _read_outside(graph)
    return found


def _read_outside(graph: GraphProto) -> set[str]:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    inner = {name for node in graph.node for name in reads(node)}
    return (inner | {v.name for v in graph.output}) - own


@dataclass(frozen=True)
class Cut:
    """Where a network can be cut: values before what is refused, values after it."""

    before: tuple[str, ...]
    after: tuple[str, ...]


def around(model: ModelProto, refused: Iterable[str]) -> Cut:
    """Return where to cut around nodes, named by one of their outputs each.

    ``before`` holds what those nodes read and what they do not reach of the outputs, the deepest
    first; ``after`` what they and their readers make on the way to the outputs.
    """
    nodes, refused = list(model.graph.node), set(refused)
    computed, affected, depth = _reached(model), set(refused), {}
    bad = [node for node in nodes if refused.intersection(node.output)]
    for node in nodes:
        if affected.intersection(reads(node)) or node in bad:
            affected.update(name for name in node.output if name)
    for place, node in enumerate(nodes):
        depth.update(dict.fromkeys(node.output, place))
    ends = {value.name for value in model.graph.output}
    before = {name for node in bad for name in reads(node)} | ends
    before = {name for name in before if name in computed and name not in affected}
    after = {name for node in bad for name in node.output if name and name not in ends}
    order = sorted(before, key=lambda name: -depth[name])
    return Cut(tuple(order), tuple(sorted(after, key=lambda name: depth[name])))


def _reached(model: ModelProto) -> Collection[str]:
    """Values that nodes compute from the network's inputs."""
    found = {value.name for value in inputs_of(model)}
    computed: set[str] = set()
    for node in model.graph.node:
        if found.intersection(reads(node)):
            found.update(name for name in node.output if name)
            computed.update(name for name in node.output if name)
    return computed


def infer_types(model: ModelProto) -> ModelProto:
    """Return the model with inferred types, as far as ONNX can."""
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception:
        return model
