"""From the nodes of an ONNX graph to a torch.fx graph of modules, one for each node."""

from __future__ import annotations

import keyword
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from onnx import ModelProto, NodeProto
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx import Graph, GraphModule, Node

from qutils.errors import QutilsError
from qutils.graph.quiet import quiet
from qutils.importers.onnx import control
from qutils.importers.onnx.call import Call, Function, Made, refuse
from qutils.importers.onnx.cut import reads
from qutils.importers.onnx.names import dotted, first_output
from qutils.importers.onnx.operators import OPERATORS
from qutils.importers.onnx.operators.sources import OF_SHAPES, constant, stored
from qutils.importers.onnx.opset import opset_of
from qutils.importers.onnx.paths import free_path, owner_of, put
from qutils.importers.onnx.refused import RefusedError
from qutils.importers.onnx.values import Value, probes, static
from qutils.importers.onnx.varying import is_uniform, numbered_axis, numbers, spread


def convert(
    model: ModelProto,
    paths: Mapping[str, str],
    shapes: Mapping[str, Sequence[int | str]],
    dtypes: Mapping[str, torch.dtype],
    fixed_batch: int | None,
) -> tuple[GraphModule, dict[str, str]]:
    """Return the graph of a model with named nodes, and the names of its nodes by ONNX value.

    Args:
        paths: dotted names of nodes by their first outputs.
        shapes: whole shapes of the inputs, in order, a name for the batch.
        dtypes: types of the inputs.
        fixed_batch: the batch size that the file declares, None if its batch is open.

    Raises:
        UnsupportedError: an operator or a setting that cannot be imported; the node is named.
    """
    builder = Builder(opset_of(model), fixed_batch, paths)
    for tensor in model.graph.initializer:
        builder.values[tensor.name] = static(tensor.name, stored(tensor))
    for name, shape in shapes.items():
        builder.add_input(name, shape, dtypes[name])
    for node in model.graph.node:
        builder.visit(node)
    if builder.failures:
        reasons = "; ".join(str(error) for _, error in builder.failures[:_SPOKEN])
        more = f"; and {len(builder.failures) - _SPOKEN} more" * (len(builder.failures) > _SPOKEN)
        raise RefusedError(f"{reasons}{more}", [node for node, _ in builder.failures])
    return builder.finish([value.name for value in model.graph.output])


#: So many nodes are named in a message.
_SPOKEN = 8


class Builder:
    """A torch.fx graph that grows by one ONNX node after the other."""

    def __init__(self, opset: int, fixed_batch: int | None, paths: Mapping[str, str]) -> None:
        self.opset, self.fixed_batch, self.paths = opset, fixed_batch, dict(paths)
        self.root, self.graph = nn.Module(), Graph()
        self.values: dict[str, Value] = {}
        self.axes: dict[str, tuple[Value, int]] = {}  # an input that has each open axis, and where
        self._calls: dict[str, tuple[Call, int]] = {}  # what made a value without any input
        self.failures: list[tuple[NodeProto, QutilsError]] = []
        self._lost: set[str] = (
            set()
        )  # values that nodes of ``failures`` would make, and their heirs
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        # The value is kept beside its node: of one that is gone, another could have the id.
        self._stored: dict[tuple[str, int], tuple[Value, Node]] = {}

    def add_input(self, name: str, shape: Sequence[int | str], dtype: torch.dtype) -> None:
        """Add an input of the network, of any size where its shape has a name."""
        sizes = [[at[axis] if isinstance(axis, str) else axis for axis in shape] for at in probes()]
        with self._mode:
            made = tuple(torch.empty(each, dtype=dtype) for each in sizes)
        node = self.graph.placeholder(argument_name(name))
        self.values[name] = Value(name, made, node)
        for place, axis in enumerate(shape):
            if isinstance(axis, str):
                self.axes.setdefault(axis, (self.values[name], place))

    def _sources(self, module: nn.Module) -> list[Value]:
        """The inputs whose sizes a module's settings depend on; it is told where they are."""
        if not isinstance(module, Function):
            return []
        needs = sorted(module.needs)
        inputs = list({id(self.axes[name][0]): self.axes[name][0] for name in needs}.values())
        for name in needs:
            value, axis = self.axes[name]
            place = next(i for i, one in enumerate(inputs) if one is value)
            module.places[name] = (place, axis)
        return inputs

    def visit(self, node: NodeProto) -> None:
        """Add what a node computes; one that cannot be imported is kept in ``failures``."""
        if not self._lost.isdisjoint(reads(node)):
            self._lost.update(node.output)
            return
        try:
            self.add(node)
        except QutilsError as error:
            self.failures.append((node, error))
            self._lost.update(node.output)

    def add(self, node: NodeProto) -> None:
        """Add what a node computes.

        Raises:
            UnsupportedError: it cannot be imported.
        """
        try:
            self._add(node)
        except QutilsError:
            raise
        except Exception as error:
            reason = said(error)
            if self.fixed_batch is not None:
                reason = (
                    f"it does not work for batches of other sizes than {self.fixed_batch} "
                    f"({reason}). Export the model with an open batch axis"
                )
            raise refuse(node, reason) from error

    def path(self, node: NodeProto) -> str:
        """Return the dotted name of a node."""
        return self.paths.get(first_output(node)) or node.op_type.lower()

    def _add(self, node: NodeProto) -> None:
        if node.op_type in control.INLINED:
            control.INLINED[node.op_type](self, node)
            return
        operands = tuple(self.values[name] if name else None for name in node.input)
        call = Call(node, operands, self.opset, self.path(node), self.fixed_batch)
        if node.op_type == "Constant":
            self._keep(node, [static(node.output[0], constant(call))])
        elif node.op_type in OF_SHAPES or all(value.is_static for value in call.given()):
            self._keep(node, self._evaluated(call))
            if node.op_type not in OF_SHAPES:
                self._calls |= {name: (call, i) for i, name in enumerate(node.output) if name}
        else:
            found = OPERATORS[node.op_type](call)
            if isinstance(found, Value):
                self._keep(node, [found])
            else:
                self._keep(node, self.emit(found, call.path, len(node.output)))

    def _keep(self, node: NodeProto, results: Sequence[Value]) -> None:
        for name, value in zip(node.output, results, strict=False):
            if name:
                self.values[name] = Value(name, value.probes, value.node)

    def _evaluated(self, call: Call) -> list[Value]:
        """What a node gives that does not depend on the network's inputs, at every probe."""
        alike = call.op not in OF_SHAPES and all(value.is_constant for value in call.given())
        points = len(probes())
        columns = [self._evaluated_at(call, probe) for probe in range(1 if alike else points)]
        columns *= points if alike else 1
        return [Value("", tuple(column)) for column in zip(*columns, strict=True)]

    def _evaluated_at(self, call: Call, probe: int) -> list[Tensor]:
        operands = tuple(v.at(probe) if v is not None else None for v in call.operands)
        made_of = OPERATORS[call.op](Call(call.node, operands, call.opset, call.path))
        if isinstance(made_of, Value):
            return [made_of.probes[0]]
        values = [value.probes[0] for value in made_of.operands]
        with torch.no_grad():
            if made_of.before is not None:
                values[0] = made_of.before(values[0])
            result = made_of.module.eval()(*values)
            if made_of.after is not None:
                result = made_of.after(result)
        return list(result) if isinstance(result, tuple | list) else [result]

    def emit(self, made_of: Made, path: str, outputs: int = 1) -> list[Value]:
        """Add calls of a node's modules; return its results."""
        operands = list(made_of.operands)
        if made_of.before is not None:
            operands[0] = self._call(made_of.before, f"{path}_pad", operands[:1], 1)[0]
        results = self._call(made_of.module, path, operands, outputs)
        if made_of.after is not None:
            results = self._call(made_of.after, f"{path}_crop", results[:1], 1)
        return results

    def _call(
        self, module: nn.Module, path: str, operands: Sequence[Value], outputs: int
    ) -> list[Value]:
        path = free_path(self.root, path)
        module.eval()
        operands = [*self._sources(module), *operands]
        put(self.root, path, module)  # first: tensors that it keeps are stored in it
        arguments = tuple(self._argument(value, path) for value in operands)
        node = self.graph.create_node("call_module", path, arguments)
        columns = []
        for probe in range(len(probes())):
            with quiet(below=logging.CRITICAL), self._mode, torch.no_grad():
                result = module(*(value.probes[probe] for value in operands))
            columns.append(tuple(result) if isinstance(result, tuple | list) else (result,))
            several = isinstance(result, tuple | list)
        nodes = [
            self.graph.call_function(_item, (node, i)) if several else node
            for i in range(min(len(columns[0]), outputs))
        ]
        return [
            Value("", tuple(column[i] for column in columns), item) for i, item in enumerate(nodes)
        ]

    def _argument(self, value: Value, path: str) -> Node:
        """The fx node of a value; a static one is stored in the module, once."""
        if value.node is not None:
            return value.node
        key = (value.name, id(value.probes[0]))
        if key not in self._stored:
            self._stored[key] = (value, self._store(value, path))
        return self._stored[key][1]

    def _store(self, value: Value, path: str) -> Node:
        if value.is_constant:
            return self._buffer(value.name, value.probes[0], path)
        if (numbered := numbered_axis(value)) is not None:
            sizes = {"sizes": value.shape, "axis": numbered, "dtype": value.dtype}
            return self._sized(Function(numbers, sizes), f"{path}_numbers")
        if is_uniform(value):
            one = self._buffer(value.name, value.probes[0].reshape(-1)[:1].reshape(()), path)
            return self._sized(Function(spread, {"sizes": value.shape}), f"{path}_copies", one)
        axis = value.batch_axis
        first = value.probes[0]
        row = first.narrow(axis, 0, 1) if axis is not None else first
        alike = axis is not None and all(
            torch.equal(piece, row) for probe in value.probes for piece in probe.split(1, axis)
        )
        if not alike:
            return self._recomputed(value, path)
        size: Any = value.shape[axis]  # type: ignore[index]
        module = Function(_copies, {"axis": axis, "size": size})
        return self._sized(module, f"{path}_copies", self._buffer(value.name, row, path))

    def _recomputed(self, value: Value, path: str) -> Node:
        """Compute a value that differs with the open axes when the network runs."""
        if value.name not in self._calls:
            raise refuse_value(value, path)
        call, index = self._calls[value.name]
        made_of = OPERATORS[call.op](call)
        if isinstance(made_of, Value):
            return self._argument(made_of, path)
        node = self.emit(made_of, call.path, index + 1)[index].node
        assert node is not None
        return node

    def _sized(self, module: Function, path: str, *operands: Node) -> Node:
        """Call a module whose settings depend on open axes."""
        target = free_path(self.root, path)
        put(self.root, target, module)
        sources: list[Any] = [value.node for value in self._sources(module)]
        return self.graph.create_node("call_module", target, (*sources, *operands))

    def _buffer(self, name: str, tensor: Tensor, path: str) -> Node:
        own = dotted(name) or f"{path}.constant"
        target = free_path(self.root, own)
        owner, leaf = owner_of(self.root, target)
        owner.register_buffer(leaf, tensor.detach().clone())
        return self.graph.get_attr(target)

    def finish(self, outputs: Sequence[str]) -> tuple[GraphModule, dict[str, str]]:
        """Return the graph with these outputs, and the names of its nodes by ONNX value.

        It returns one tensor, or a dict of several by name.
        """
        results = [self._argument(self.values[name], f"output_{name}") for name in outputs]
        self.graph.output(
            results[0] if len(results) == 1 else dict(zip(outputs, results, strict=True))
        )
        with_nodes = {n: v.node.name for n, v in self.values.items() if v.node is not None}
        module = GraphModule(self.root, self.graph)
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        return module.eval(), with_nodes


def argument_name(name: str) -> str:
    """Return the name of an input as that of an argument in Python.

    >>> argument_name("x"), argument_name("input:0"), argument_name("0")
    ('x', 'input_0', 'input_0')
    """
    plain = dotted(name).replace(".", "_")
    return plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"input_{plain}"


def refuse_value(value: Value, path: str) -> QutilsError:
    """Return the error for a stored value whose contents depend on the batch."""
    node = NodeProto(op_type="Constant", name=path, output=[value.name])
    return refuse(node, f"its input {value.name} is another tensor for every size of the batch")


def _copies(row: Tensor, axis: int, size: int) -> Tensor:
    return row.expand([size if i == axis else -1 for i in range(row.ndim)])


def _item(values: Sequence[Tensor], index: int) -> Tensor:
    return values[index]


def said(error: Exception) -> str:
    """Return the first line of an error; its type where that is no explanation."""
    line = next(iter(str(error).strip().splitlines()), "").rstrip(". ")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
