"""An ONNX file in QDQ form, looked up by name: who makes a value, who reads it, what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from qutils.backends.shared.onnx_file import read_onnx

#: Layers with weights, and the places of their weights among the inputs.
WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
_DEQUANTIZE = "DequantizeLinear"
#: Operators that only a quantized file holds, besides those whose names begin so.
_INTEGERS = frozenset(
    {
        *("QuantizeLinear", _DEQUANTIZE, "ConvInteger", "MatMulInteger"),
        *("MatMulNBits", "MatMulIntegerToFloat", "GatherBlockQuantized"),
    }
)
_BEGINNINGS = ("QLinear", "QGemm", "QAttention", "DynamicQuantize")
#: What moves values, or picks some: the integers after it are those before it.
_MOVES = ("Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


class QdqGraph:
    """The main graph of a model; subgraphs are not looked into."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes: tuple[NodeProto, ...] = tuple(model.graph.node)
        self.tensors: dict[str, TensorProto] = {t.name: t for t in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        for node in self.nodes:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.tensors[node.output[0]] = attribute.t

    @classmethod
    def read(cls, source: ModelProto | str | Path) -> QdqGraph:
        """The graph of a model or of its file.

        Raises:
            DataError: the file is missing, truncated or corrupt, or holds no graph.
        """
        if isinstance(source, ModelProto):
            return cls(source)
        return cls(read_onnx(source))

    @cached_property
    def _made_by(self) -> dict[str, NodeProto]:
        return {output: node for node in self.nodes for output in node.output}

    @cached_property
    def _read_by(self) -> dict[str, list[NodeProto]]:
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    def of(self, *op_types: str) -> Iterator[NodeProto]:
        """Nodes of these types, in order."""
        return (node for node in self.nodes if node.op_type in op_types)

    def maker(self, name: str) -> NodeProto | None:
        """The node that makes a value; None for inputs and stored tensors."""
        return self._made_by.get(name)

    def readers(self, node: NodeProto) -> list[NodeProto]:
        """The nodes that read what ``node`` makes."""
        return [reader for name in node.output for reader in self._read_by.get(name, [])]

    def stored(self, name: str) -> NDArray[Any] | None:
        """A stored tensor's values; None where the value is computed."""
        tensor = self.tensors.get(name)
        return None if tensor is None else np.asarray(onnx.numpy_helper.to_array(tensor))

    def held(self, name: str) -> TensorProto | None:
        """The stored tensor that a value is, perhaps quantized and moved; None if computed."""
        maker = self.maker(name)
        while maker is not None and maker.op_type in (*_MOVES, "QuantizeLinear", _DEQUANTIZE):
            name = maker.input[0]
            maker = self.maker(name)
        return self.tensors.get(name)

    def is_stored(self, name: str) -> bool:
        """Whether a value is a stored tensor, perhaps quantized and moved, but not computed."""
        return self.held(name) is not None

    def dequantizer(self, name: str) -> NodeProto | None:
        """The DequantizeLinear that a value comes from, perhaps moved on its way."""
        maker = self.maker(name)
        while maker is not None and maker.op_type in _MOVES:
            maker = self.maker(maker.input[0])
        return maker if maker is not None and maker.op_type == _DEQUANTIZE else None

    def integer_type(self, node: NodeProto) -> int:
        """Type of the integers of a QuantizeLinear or DequantizeLinear (``onnx.TensorProto``)."""
        zero = self.tensors.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None:
            return int(zero.data_type)
        if node.op_type == _DEQUANTIZE:
            made = self.maker(node.input[0])
            if made is not None and made.op_type == "QuantizeLinear":
                return self.integer_type(made)
            held = self.tensors.get(node.input[0])
            return int(held.data_type) if held is not None else TensorProto.UNDEFINED
        return int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8  # ONNX's default


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default that ONNX gives it."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def spoken(node: NodeProto) -> str:
    """A node for a message: its name, or what it makes where it has none."""
    return node.name or f"{node.op_type} that makes {node.output[0]!r}"


def integer_operators(model: ModelProto) -> tuple[str, ...]:
    """Types of operators that only quantized files hold, in order; () if the file is float."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    found = (
        n.op_type for n in nodes if n.op_type in _INTEGERS or n.op_type.startswith(_BEGINNINGS)
    )
    return tuple(dict.fromkeys(found))
