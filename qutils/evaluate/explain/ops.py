"""Why an operator stayed in float: what its Q/DQ neighbours lack for an integer kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from qutils.backends.shared.qdq_graph import integer_operators
from qutils.evaluate.explain.profile import Executed, Profile

#: Operators that ONNX Runtime turns into an integer kernel when Q/DQ pairs surround them.
#: Source: onnxruntime/core/optimizer/qdq_transformer/selectors_actions.
KERNELS = frozenset(
    {
        *("Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat"),
        *("Sigmoid", "LeakyRelu", "Softmax", "Where", "ConvTranspose"),
    }
)
#: Operators that move values: they run on integers where a pair stands on both sides.
MOVES = frozenset(
    {
        *("Reshape", "Transpose", "MaxPool", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Split"),
        *("Slice", "Resize", "Pad", "Expand", "DepthToSpace", "SpaceToDepth", "Identity"),
    }
)
#: Operators without a kernel that equal one with a kernel where their second input is constant.
_EQUAL = {
    "Div": "its divisor is constant: write it as Mul by the reciprocal, which has one",
    "Sub": "what it subtracts is constant: write it as Add of the negative, which has one",
}
#: Where layers keep 8-bit weights.
_PLACES = {"Conv": 1, "Gemm": 1, "MatMul": 1, "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})
_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose"})
_ABSORBED = frozenset({"Relu", "Clip"})
_NEEDS_NO_OUTPUT = frozenset({"Gemm", "MatMul"})  # kernels that hand out float exist
_NO_KERNEL_YET = frozenset({"ConvTranspose"})  # on the CPU


@dataclass(frozen=True)
class FloatOp:
    """An operator that executes in float: where, how long, and why."""

    executed: Executed
    reason: str


def float_ops(model: ModelProto, profile: Profile) -> tuple[FloatOp, ...]:
    """Every operator that executes in float, the slowest first.

    ``model`` is what was given to the runtime, with named nodes.
    """
    graph = _Graph(model)
    found = [FloatOp(one, _reason(graph, one)) for one in profile.executed if one.kind == "float"]
    return tuple(sorted(found, key=lambda op: -op.executed.milliseconds))


def weighted_layers(model: ModelProto) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Yield name, stored int8 weights ``[O, C / groups, ...]`` and groups of each integer layer."""
    graph = _Graph(model)
    for node in model.graph.node:
        if node.op_type not in _PLACES:
            continue
        weight = graph.fixed(node.input[_PLACES[node.op_type]])
        if weight is None or weight.dtype != np.int8 or weight.ndim < 2:
            continue
        numbers = {a.name: a.i for a in node.attribute}
        product = node.op_type not in ("Conv", "QLinearConv")
        if product and not numbers.get("transB", 0):
            weight = weight.reshape(-1, *weight.shape[-2:]).swapaxes(1, 2)
            weight = weight.reshape(-1, weight.shape[-1])
        yield node.name, weight, numbers.get("group", 1)


class _Graph:
    """Producers, readers and constants of a graph."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.nodes = {node.name: node for node in graph.node}
        self.made = {name: node for node in graph.node for name in node.output}
        self.stored: Mapping[str, TensorProto] = {t.name: t for t in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.quantized = any(n.op_type in _PAIR for n in graph.node)
        self.integers = bool(integer_operators(model))

    def origin(self, one: Executed) -> NodeProto | None:
        """The file's operator behind one that executes, which the optimizer may have renamed."""
        for name in (one.name, one.title, *one.outputs):
            node = self.nodes.get(name) or self.made.get(name)
            if node is not None and node.op_type not in _PAIR:
                return self._weighted_before(node)
        return None

    def _weighted_before(self, node: NodeProto) -> NodeProto:
        """A fused operator has the name of its last part: its first part does the work."""
        while node.op_type in {*_ABSORBED, "Add"} and node.input[0] in self.made:
            before = self.made[node.input[0]]
            if before.op_type not in {*_WEIGHTED, *_ABSORBED, "Add"}:
                break
            node = before
        return node

    def constant(self, name: str) -> NDArray[Any] | None:
        tensor = self.stored.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def fixed(self, name: str) -> NDArray[Any] | None:
        """The constant itself, or the one behind a ``Constant`` or ``DequantizeLinear``."""
        node = self.made.get(name)
        if node is not None and node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            return None if value is None else numpy_helper.to_array(value)
        if node is not None and node.op_type == "DequantizeLinear":
            return self.constant(node.input[0])
        return self.constant(name)


def _reason(graph: _Graph, one: Executed) -> str:
    """The first thing that is missing."""
    if not graph.quantized and graph.integers:
        return (
            "only inputs of matrix products are quantized, while the network runs (dynamic "
            "quantization); all else stays in float"
        )
    if not graph.quantized:
        return "the file holds no QuantizeLinear: it is a float model"
    node = graph.origin(one)
    if node is None:
        return "the runtime made it: it stands between float operators"
    for reason in _lacking(graph, node):
        return reason
    return "nothing is missing in the file: ONNX Runtime has no fused kernel for this combination"


def _lacking(graph: _Graph, node: NodeProto) -> Iterator[str]:
    op = node.op_type
    if op in _ABSORBED:
        yield from _unabsorbed(graph, node)
    if op not in KERNELS | MOVES or op in _NO_KERNEL_YET:
        other = _EQUAL.get(op)
        if other is not None and graph.fixed(node.input[1]) is not None:
            yield f"ONNX Runtime has no integer kernel for {op} on the CPU; {other}"
        else:
            yield f"ONNX Runtime has no integer kernel for {op} on the CPU"
        return
    tensors = node.input[:2] if op in _WEIGHTED or op in ("Add", "Mul") else node.input[:1]
    for place, name in enumerate(node.input if op == "Concat" else tensors):
        yield from _input_lacks(graph, node, place, name)
    yield from _output_lacks(graph, node)
    yield from _types_differ(graph, node)


def _input_lacks(graph: _Graph, node: NodeProto, place: int, name: str) -> Iterator[str]:
    weight = place == 1 and node.op_type in _WEIGHTED
    source = graph.made.get(name)
    if source is None or source.op_type != "DequantizeLinear":
        if weight and name in graph.stored:
            return  # ONNX Runtime quantizes it, if all else is there
        if name in graph.stored:
            yield "its constant is stored in float"
        elif source is None:
            yield "it reads the network's input, which has no QuantizeLinear"
        else:
            yield f"its input comes from {source.op_type} {source.name!r} without QuantizeLinear"
        return
    scale = graph.constant(source.input[1])
    if scale is None:
        yield "a scale is computed, not stored"
    elif not weight and scale.size > 1:
        yield "its input is quantized per axis; integer kernels take one scale for an activation"
    kind = graph.stored.get(source.input[2]) if len(source.input) > 2 else None
    if kind is not None and kind.data_type in (TensorProto.UINT16, TensorProto.INT16):
        yield "its values have 16 bits; integer kernels take 8"


def _output_lacks(graph: _Graph, node: NodeProto) -> Iterator[str]:
    if node.op_type in _NEEDS_NO_OUTPUT:
        return
    name = node.output[0]
    readers = graph.readers.get(name, [])
    if name in graph.outputs:
        yield "it makes the network's output, and no QuantizeLinear follows it"
    others = [reader for reader in readers if reader.op_type != "QuantizeLinear"]
    if others and others[0].op_type in _ABSORBED:
        yield from _unabsorbed(graph, others[0], following=True)
    if others:
        yield f"{_spoken(others)} reads its result before a QuantizeLinear does"
    if len(readers) > 1:
        yield f"its result is shared by {len(readers)} QuantizeLinear"


def _types_differ(graph: _Graph, node: NodeProto) -> Iterator[str]:
    """Kernels read and write one type; on x86 that is uint8, and pairs are widened where it can."""
    source = graph.made.get(node.input[0])
    readers = graph.readers.get(node.output[0], [])
    read = _type(graph, source) if source is not None else None
    written = _type(graph, readers[0]) if readers else None
    if read is not None and written is not None and read != written:
        yield f"it reads {read} and its QuantizeLinear writes {written}; kernels keep one type"
    elif read == np.int8:
        yield "its activations are int8; ONNX Runtime's kernels for it take uint8 on x86"


def _type(graph: _Graph, node: NodeProto) -> np.dtype[Any] | None:
    """The integers of a Q/DQ node, as its zero point has them."""
    if node.op_type not in _PAIR:
        return None
    zero = graph.constant(node.input[2]) if len(node.input) > 2 else None
    return np.dtype(np.uint8) if zero is None else zero.dtype


def _unabsorbed(graph: _Graph, node: NodeProto, following: bool = False) -> Iterator[str]:
    """An activation disappears only if its quantizer's lowest integer stands for zero."""
    readers = graph.readers.get(node.output[0], [])
    which = f"{node.op_type} {node.name!r} after it" if following else "it"
    for reader in readers:
        if reader.op_type != "QuantizeLinear" or len(reader.input) < 3:
            continue
        zero = graph.constant(reader.input[2])
        if zero is not None and zero.size > 1:
            yield f"{which} is quantized per axis; integer kernels take one scale"
        elif zero is not None and zero.item() != np.iinfo(zero.dtype).min:
            yield (
                f"{which} cannot be absorbed: its quantizer's zero_point is {zero.item()}, not "
                f"{np.iinfo(zero.dtype).min}, so it does not clip at 0"
            )
    if not readers or any(reader.op_type != "QuantizeLinear" for reader in readers):
        yield f"{which} has no QuantizeLinear after it"


def _spoken(nodes: Sequence[NodeProto]) -> str:
    return ", ".join(dict.fromkeys(f"{node.op_type} {node.name!r}" for node in nodes))
