"""Rewrite an ONNX file of integer operators so that its int8 activations become uint8.

``session.x64quantprecision`` makes ONNX Runtime multiply unsigned by unsigned bytes. It turns int8
weights into uint8, and in QDQ files the int8 activations as well. In files that hold the integer
operators themselves (``QLinearConv``, ``QGemm``, ...) it leaves int8 activations as they are, and
then has no kernel for int8 activations with uint8 weights. Adding 128 to the integers and to their
zero points gives the same real numbers, and kernels that exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qutils.backends.shared.runtime import require

#: Inputs ``(data, zero point)`` that are activations, and the input that is the zero point of the
#: output. Weights are not listed: the session option converts them.
_OPERATORS: dict[str, tuple[tuple[tuple[int, int], ...], int | None]] = {
    "QuantizeLinear": ((), 2),
    "DequantizeLinear": (((0, 2),), None),
    "QLinearConv": (((0, 2),), 7),
    "QLinearMatMul": (((0, 2), (3, 5)), 7),
    "QGemm": (((0, 2),), 8),
    "QLinearAdd": (((0, 2), (3, 5)), 7),
    "QLinearMul": (((0, 2), (3, 5)), 7),
    "QLinearWhere": (((1, 3), (4, 6)), 8),
    "QLinearAveragePool": (((0, 2),), 4),
    "QLinearGlobalAveragePool": (((0, 2),), 4),
    "QLinearLeakyRelu": (((0, 2),), 4),
    "QLinearReduceMean": (((0, 2),), 4),
    "QLinearSigmoid": (((0, 2),), 4),
    "QLinearSoftmax": (((0, 2),), 4),
    "ConvInteger": (((0, 2),), None),
    "MatMulInteger": (((0, 2),), None),
}
#: Operators that copy or compare integers and keep their zero point.
_COPIES = frozenset(
    {"Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze", "Concat"}
)
_OFFSET = 128


def with_unsigned_activations(path: str | Path) -> bytes | None:
    """Return the file with uint8 in place of int8 activations, or None if that is not possible.

    ``q_u = q_s + 128`` and ``zero_point_u = zero_point_s + 128``; inputs and outputs of the file
    keep their type. None means that there is no int8 activation, or that one reaches an operator
    of which this function does not know what it does with integers.
    """
    model = require("onnx", "pip install onnx").load(str(path))
    rewriting = _Rewriting(model.graph)
    return model.SerializeToString() if rewriting.apply() else None


class _Rewriting:
    """One pass over a graph, in its topological order."""

    def __init__(self, graph: Any) -> None:
        self.onnx = require("onnx", "pip install onnx")
        self.graph = graph
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.signed: set[str] = set()  # int8 activations of the file, uint8 from now on
        self.entries: list[Any] = []  # nodes that shift an int8 input of the file

    def apply(self) -> bool:
        """Rewrite the graph in place; False if nothing was changed or something was unknown."""
        int8 = self.onnx.TensorProto.INT8
        given = [i for i in self.graph.input if i.name not in self.stored]
        shifted = {i.name for i in given if i.type.tensor_type.elem_type == int8}
        for node in self.graph.node:
            for index, name in enumerate(node.input):
                if name in shifted:
                    node.input[index] = f"{name}_unsigned"
        for name in shifted:
            self.entries += self._shift(name, f"{name}_unsigned", _OFFSET)
            self.signed.add(f"{name}_unsigned")
        if not all(self._rewrite(node) for node in self.graph.node):
            return False
        nodes = [*self.entries, *self.graph.node, *self._exits()]
        del self.graph.node[:], self.graph.value_info[:]  # declared types of tensors inside
        self.graph.node.extend(nodes)
        return bool(self.signed)

    def _rewrite(self, node: Any) -> bool:
        """Rewrite one node; False if it does something unknown with an int8 activation."""
        if node.op_type in _COPIES:
            if node.op_type == "Concat" and not self._constants_follow(node):
                return False
            if any(name in self.signed for name in node.input):
                self.signed.update(node.output)
            return True
        if node.op_type == "QLinearConcat":  # scale and zero point of the output, then triples
            activations, result = tuple((i, i + 2) for i in range(2, len(node.input), 3)), 1
        elif node.op_type in _OPERATORS:
            activations, result = _OPERATORS[node.op_type]  # type: ignore[assignment]
        else:
            return not any(name in self.signed for name in node.input)
        if node.op_type == "QuantizeLinear" and node.input[0] in self.stored:
            return True  # a weight
        for data, zero in activations:
            if node.input[data] in self.signed or self._follows(node, data, zero):
                self._unsign(node, zero)
        if result is not None and self._is_int8(node, result):
            self._unsign(node, result)
            self.signed.update(node.output)
        return True

    def _follows(self, node: Any, data: int, zero: int) -> bool:
        """Make a stored int8 tensor unsigned where it is added to an activation that becomes so."""
        name = node.input[data]
        if node.op_type in ("DequantizeLinear", "QLinearMatMul") or name not in self.stored:
            return False
        if not self._is_int8(node, zero):
            return False
        node.input[data] = self._unsigned(name)
        return True

    def _constants_follow(self, node: Any) -> bool:
        """Whether no stored tensor is joined with an activation, whose integers would differ."""
        mixed = {name in self.signed for name in node.input}
        return mixed != {True, False}

    def _is_int8(self, node: Any, index: int) -> bool:
        """Whether an input holds a stored int8 zero point."""
        if index >= len(node.input) or node.input[index] not in self.stored:
            return False
        kind: int = self.stored[node.input[index]].data_type
        return kind == int(self.onnx.TensorProto.INT8)

    def _unsign(self, node: Any, zero: int) -> None:
        """Give a node the unsigned copy of a zero point; a missing one counts as int8 0."""
        while len(node.input) <= zero:
            node.input.append("")
        name = node.input[zero]
        if not name:
            self._store("zero_unsigned", np.array(_OFFSET, np.uint8))
            node.input[zero] = "zero_unsigned"
        elif self._is_int8(node, zero):
            node.input[zero] = self._unsigned(name)

    def _unsigned(self, name: str) -> str:
        """Store the tensor plus 128 as uint8 under another name."""
        values = self.onnx.numpy_helper.to_array(self.stored[name]).astype(np.int16)
        copy = f"{name}_unsigned"
        self._store(copy, (values + _OFFSET).astype(np.uint8))
        return copy

    def _store(self, name: str, values: Any) -> None:
        if name not in self.stored:
            tensor = self.onnx.numpy_helper.from_array(np.asarray(values), name)
            self.graph.initializer.append(tensor)
            self.stored[name] = tensor

    def _shift(self, source: str, target: str, offset: int) -> Iterator[Any]:
        """Nodes that add ``offset`` in int32 and store the sum as the other kind of byte."""
        make, types = self.onnx.helper.make_node, self.onnx.TensorProto
        to = types.UINT8 if offset > 0 else types.INT8
        self._store(f"{target}_offset", np.array(offset, np.int32))
        yield make("Cast", [source], [f"{target}_wide"], to=types.INT32)
        yield make("Add", [f"{target}_wide", f"{target}_offset"], [f"{target}_sum"])
        yield make("Cast", [f"{target}_sum"], [target], to=to)

    def _exits(self) -> list[Any]:
        """Nodes that give outputs of the file their int8 back; renames what made them."""
        found: list[Any] = []
        for output in self.graph.output:
            if output.name in self.signed:
                for node in self.graph.node:
                    for names in (node.input, node.output):
                        for index, name in enumerate(names):
                            if name == output.name:
                                names[index] = f"{output.name}_unsigned"
                found += self._shift(f"{output.name}_unsigned", output.name, -_OFFSET)
        return found
