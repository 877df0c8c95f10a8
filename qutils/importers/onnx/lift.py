"""Networks in float16, bfloat16 or float64 become networks in float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, numpy_helper

_FLOAT = TensorProto.FLOAT
_WIDTHS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
#: Attributes that name a type.
_TYPES = ("to", "dtype", "softmax_precision", "stash_type")


def lift_floats(model: ModelProto) -> tuple[str, ...]:
    """Turn floats of other widths into float32, in place; return the widths that were found."""
    found: dict[str, None] = {}
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            kind = value.type.tensor_type
            if kind.elem_type in _WIDTHS:
                found[_WIDTHS[kind.elem_type]] = None
                kind.elem_type = _FLOAT
        for tensor in graph.initializer:
            _lift(tensor, found)
        for node in graph.node:
            for attribute in node.attribute:
                _lift_attribute(attribute, found)
    return tuple(found)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and all graphs that its nodes hold."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _lift(tensor: TensorProto, found: dict[str, None]) -> None:
    if tensor.data_type not in _WIDTHS:
        return
    found[_WIDTHS[tensor.data_type]] = None
    array = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _lift_attribute(attribute: AttributeProto, found: dict[str, None]) -> None:
    if attribute.name in _TYPES and attribute.i in _WIDTHS:
        found[_WIDTHS[attribute.i]] = None
        attribute.i = _FLOAT
    elif attribute.type == onnx.AttributeProto.TENSOR:
        _lift(attribute.t, found)
