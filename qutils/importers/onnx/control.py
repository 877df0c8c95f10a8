"""``If`` and ``Loop`` whose course is known without the network's inputs are written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import GraphProto, NodeProto
from torch import Tensor

from qutils.importers.onnx.call import made, refuse
from qutils.importers.onnx.names import first_output
from qutils.importers.onnx.operators.sources import stored
from qutils.importers.onnx.values import Value, static

if TYPE_CHECKING:
    from qutils.importers.onnx.convert import Builder

#: A loop of more steps is refused.
MOST_STEPS = 256


def _if(builder: Builder, node: NodeProto) -> None:
    condition = builder.values[node.input[0]]
    if not condition.is_constant:
        raise refuse(node, "its condition is computed from the network's input")
    branch = _graph(node, "then_branch" if condition.probes[0].any() else "else_branch")
    results = _inlined(builder, node, branch, "branch")
    for name, value in zip(node.output, results, strict=True):
        builder.values[name] = value


def _loop(builder: Builder, node: NodeProto) -> None:
    """Body: (step, condition, *carried) -> (condition, *carried, *collected)."""
    body = _graph(node, "body")
    given = [builder.values[name] if name else None for name in node.input]
    steps, condition, carried = given[0], given[1], [v for v in given[2:] if v is not None]
    if any(v is not None and not v.is_constant for v in (steps, condition)):
        raise refuse(node, "the number of its steps is computed from the network's input")
    most = MOST_STEPS + 1 if steps is None else int(steps.probes[0])
    going = condition is None or bool(condition.probes[0].any())
    collected: list[list[Value]] = [[] for _ in body.output[1 + len(carried) :]]
    step = 0
    while going and step < most:
        if step == MOST_STEPS:
            raise refuse(node, f"it takes more than {MOST_STEPS} steps")
        first = [static("step", torch.tensor(step)), static("going", torch.tensor(True))]
        for value, operand in zip(body.input, (*first, *carried), strict=True):
            builder.values[value.name] = operand
        again, *results = _inlined(builder, node, body, f"step{step}")
        if not again.is_constant:
            raise refuse(node, "the number of its steps is computed from the network's input")
        going = bool(again.probes[0].any())
        carried = results[: len(carried)]
        for column, value in zip(collected, results[len(carried) :], strict=True):
            column.append(value)
        step += 1
    stacks = [_stacked(builder, node, column) for column in collected]
    for name, value in zip(node.output, (*carried, *stacks), strict=True):
        builder.values[name] = value


def _stacked(builder: Builder, node: NodeProto, column: Sequence[Value]) -> Value:
    if not column:
        raise refuse(node, "it collects the results of no step")
    if all(value.is_static for value in column):
        probes = zip(*(value.probes for value in column), strict=True)
        return Value("", tuple(torch.stack(values) for values in probes))
    return builder.emit(made(_stack, *column), f"{builder.path(node)}.stack")[0]


def _stack(*values: Tensor) -> Tensor:
    return torch.stack(values)


def _graph(node: NodeProto, name: str) -> GraphProto:
    found: Any = next(a for a in node.attribute if a.name == name)
    graph: GraphProto = onnx.helper.get_attribute_value(found)
    return graph


def _inlined(builder: Builder, node: NodeProto, graph: GraphProto, part: str) -> list[Value]:
    """Add the nodes of a subgraph under the name of the node that holds it."""
    for tensor in graph.initializer:
        builder.values[tensor.name] = static(tensor.name, stored(tensor))
    for index, inner in enumerate(graph.node):
        own = NodeProto()
        own.CopyFrom(inner)
        path = f"{builder.path(node)}.{part}.{inner.op_type.lower()}_{index}"
        builder.paths[first_output(own)] = path
        builder.add(own)
    return [builder.values[value.name] for value in graph.output]


#: Operators that hold graphs.
INLINED: dict[str, Callable[[Any, NodeProto], None]] = {"If": _if, "Loop": _loop}
