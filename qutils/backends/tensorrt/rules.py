"""What TensorRT asks of a quantized ONNX file, rule by rule; RULES.

``onnx.checker`` sees none of it, and the parser only a part: some breaches it refuses, others it
builds in float or with other numbers, without a word. What each breach leads to was seen with
TensorRT for RTX 1.7 (see the tests). Float8 is a matter of its own and is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from qutils.backends.shared.qdq_graph import WEIGHTED, QdqGraph, attribute, spoken

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_FLOAT8 = {TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2}
_ACTIVATIONS = ("Relu", "Clip")
_MATRIX_PRODUCTS = ("Gemm", "MatMul")
#: Rules whose breach costs time or a second rounding, and nothing else.
SLOWER = ("fusion", "residual")


@dataclass(frozen=True)
class Violation:
    """One breach: the rule, the node, what is wrong there, and how to fix it."""

    rule: str
    node: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.node}: {self.what}. Fix: {self.fix}"


Found = Iterator[tuple[NodeProto, str, str]]  # node, what, fix


def check(source: ModelProto | str | Path) -> tuple[Violation, ...]:
    """Every breach of TensorRT's rules in a file or model, in the order of RULES.

    Raises:
        DataError: the file is missing, truncated or corrupt, or holds no graph.
    Source: NVIDIA, "Working with Quantized Types" and "Explicit Quantization" (TensorRT
    documentation); the ONNX parser of TensorRT for RTX 1.7.
    """
    graph = QdqGraph.read(source)
    return tuple(
        Violation(name, spoken(node), what, fix)
        for name, rule in RULES.items()
        for node, what, fix in rule(graph)
    )


def qdq_format(graph: QdqGraph) -> Found:
    """Integers only between QuantizeLinear and DequantizeLinear; the parser refuses the rest."""
    for node in graph.nodes:
        of_integers = node.op_type.startswith(("QLinear", "QGemm", "DynamicQuantize"))
        if of_integers or node.op_type.endswith(("Integer", "NBits")):
            yield (
                node,
                f"{node.op_type} computes in integers by itself",
                "export in QDQ form: DequantizeLinear, the float operator, QuantizeLinear",
            )


def int8(graph: QdqGraph) -> Found:
    """8 bits signed; 4 bits for the weights of matrix products. A bias is ``float_bias``'s.

    int16 is refused. uint8 with a zero point of 0 is read as int8: what lies above 127 is clipped.
    """
    for node in graph.of(_QUANTIZE, _DEQUANTIZE):
        kind = graph.integer_type(node)
        if kind == TensorProto.INT8 or kind in _FLOAT8 or _is_bias(graph, node):
            continue
        if kind == TensorProto.INT4 and _feeds_only(graph, node, _MATRIX_PRODUCTS):
            continue
        name = TensorProto.DataType.Name(kind).lower()
        yield node, f"its integers are {name}", "quantize to int8 (signed, -128..127)"


def zero_point(graph: QdqGraph) -> Found:
    """Zero points are 0: the parser refuses others."""
    for node in graph.of(_QUANTIZE, _DEQUANTIZE):
        if len(node.input) < 3 or not node.input[2]:
            continue
        zero = graph.stored(node.input[2])
        if zero is None or np.any(zero.astype(np.int64)):
            told = "computed" if zero is None else ", ".join(map(str, np.unique(zero)[-3:]))
            yield node, f"its zero point is {told}", "quantize symmetrically: zero point 0"


def scale(graph: QdqGraph) -> Found:
    """Scales are stored and above 0. The parser refuses 0, and dies of a scale that is computed."""
    for node in graph.of(_QUANTIZE, _DEQUANTIZE):
        values = graph.stored(node.input[1])
        if values is None:
            yield node, "its scale is computed while it runs", "calibrate, and store the scale"
        elif not (np.isfinite(values).all() and (values > 0).all()):
            yield node, "a scale is not above 0 and finite", "give each scale a positive number"


def float_bias(graph: QdqGraph) -> Found:
    """Biases stay float. int32 is refused; an int8 bias is added in half precision."""
    for node in graph.of(_DEQUANTIZE):
        if _is_bias(graph, node):
            name = TensorProto.DataType.Name(graph.integer_type(node)).lower()
            yield node, f"a bias is {name}", "store it in float32, without DequantizeLinear"


def channel_axis(graph: QdqGraph) -> Found:
    """Weights per channel go along the outputs; otherwise the layer computes in float."""
    for layer in graph.of(*WEIGHTED):
        node = _weight(graph, layer)
        scales = graph.stored(node.input[1]) if node is not None else None
        if node is None or scales is None or scales.size < 2:
            continue
        if attribute(node, "block_size", 0) or graph.maker(layer.input[1]) is not node:
            continue  # in blocks; or transposed on its way, which moves the axis
        weight = graph.held(node.input[0])
        rank = len(weight.dims) if weight is not None else 0
        given, wanted = int(attribute(node, "axis", 1)) % rank, _output_axis(layer, rank)
        if given != wanted:
            yield (
                node,
                f"the weights of {spoken(layer)} are quantized along axis {given}",
                f"quantize them along axis {wanted}, that of the outputs",
            )


def per_tensor_activations(graph: QdqGraph) -> Found:
    """Activations have one scale; with several, the layers after it compute in float."""
    for node in graph.of(_QUANTIZE):
        values = graph.stored(node.input[1])
        if values is not None and values.size > 1 and not graph.is_stored(node.input[0]):
            yield (
                node,
                f"an activation has {values.size} scales",
                "quantize activations per tensor: one scale",
            )


def both_inputs(graph: QdqGraph) -> Found:
    """A layer computes in integers only if both its input and its weights are quantized."""
    for layer in graph.of(*WEIGHTED):
        weight, source = _weight(graph, layer), graph.dequantizer(layer.input[0])
        if not graph.is_stored(layer.input[1]) and weight is None:
            continue  # a product of two activations
        in_blocks = weight is not None and graph.integer_type(weight) == TensorProto.INT4
        if in_blocks or (weight is None) == (source is None):
            continue
        lacking, there = ("input", "weights") if source is None else ("weights", "input")
        verb = "is" if lacking == "input" else "are"
        yield (
            layer,
            f"its {there} {'are' if there == 'weights' else 'is'} quantized, its {lacking} "
            f"{verb} not: it computes in float",
            f"quantize its {lacking}, or neither",
        )


def fusion(graph: QdqGraph) -> Found:
    """Nothing is quantized between a layer and its BatchNorm or activation: one kernel does both.

    Otherwise the result is rounded twice, and TensorRT's fusion ends at the first.
    """
    for node in graph.of(_QUANTIZE):
        layer = graph.maker(node.input[0])
        if (
            layer is None
            or layer.op_type not in (*WEIGHTED, "Add")
            or len(graph.readers(layer)) > 1
        ):
            continue
        readers = [n for pair in graph.readers(node) for n in graph.readers(pair)]
        if len(readers) == 1 and readers[0].op_type in (*_ACTIVATIONS, "BatchNormalization"):
            yield (
                node,
                f"it stands between {spoken(layer)} and its {readers[0].op_type}",
                f"quantize after {spoken(readers[0])} alone",
            )


def residual(graph: QdqGraph) -> Found:
    """A sum after a layer adds a quantized tensor, or a float one is kept for it.

    TensorRT adds in the kernel of the layer, whose result can be int8 only if the other addend is.
    """
    for node in graph.of("Add"):
        addends = [(name, graph.maker(name)) for name in node.input]
        layers = [m for _, m in addends if m is not None and _is_quantized_layer(graph, m)]
        if not layers or not _ends_quantized(graph, node):
            continue
        for name, maker in addends:
            if maker in layers or graph.is_stored(name) or graph.dequantizer(name) is not None:
                continue
            yield (
                node,
                f"it adds {name!r}, which is float, to the result of {spoken(layers[0])}",
                f"quantize {name!r}: QuantizeLinear and DequantizeLinear in front of the sum",
            )


def _weight(graph: QdqGraph, layer: NodeProto) -> NodeProto | None:
    """The DequantizeLinear of a layer's stored weights."""
    name = layer.input[WEIGHTED[layer.op_type]]
    return graph.dequantizer(name) if graph.is_stored(name) else None


def _is_bias(graph: QdqGraph, node: NodeProto) -> bool:
    """Whether a layer reads the node as its third input."""
    return any(
        n.op_type in WEIGHTED and len(n.input) > 2 and n.input[2] in node.output
        for n in graph.readers(node)
    )


def _feeds_only(graph: QdqGraph, node: NodeProto, op_types: tuple[str, ...]) -> bool:
    readers = graph.readers(node)
    return bool(readers) and all(n.op_type in op_types for n in readers)


def _output_axis(layer: NodeProto, rank: int) -> int:
    """The axis of a layer's weights along which its outputs lie."""
    if layer.op_type == "Gemm":
        return 0 if attribute(layer, "transB", 0) else 1
    if layer.op_type == "MatMul":
        return rank - 1
    return 1 if layer.op_type == "ConvTranspose" else 0


def _is_quantized_layer(graph: QdqGraph, node: NodeProto) -> bool:
    return node.op_type in WEIGHTED and _weight(graph, node) is not None


def _ends_quantized(graph: QdqGraph, node: NodeProto) -> bool:
    """Return whether the result of a sum, after its activation, is quantized."""
    readers = graph.readers(node)
    while len(readers) == 1 and readers[0].op_type in _ACTIVATIONS:
        readers = graph.readers(readers[0])
    return any(reader.op_type == _QUANTIZE for reader in readers)


#: Every rule by the name that a violation gives.
RULES: dict[str, Callable[[QdqGraph], Found]] = {
    "qdq-format": qdq_format,
    "int8": int8,
    "zero-point": zero_point,
    "scale": scale,
    "float-bias": float_bias,
    "channel-axis": channel_axis,
    "per-tensor-activations": per_tensor_activations,
    "both-inputs": both_inputs,
    "fusion": fusion,
    "residual": residual,
}
