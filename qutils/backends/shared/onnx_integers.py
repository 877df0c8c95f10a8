"""QDQ graphs in forms that ONNX Runtime executes as simulated, in integers where it can.

It leaves ``Dequantize -> Pad -> Quantize`` and ``Dequantize -> Relu -> Quantize`` in float,
although it has what is needed: Pad takes integers, Conv pads by itself, and a LeakyRelu of slope 0,
which is a ReLU, has an integer kernel. And it rounds the float weights of a layer between
Dequantize and Quantize to 8 bits, which would undo ``keep_float`` in silence.
"""

from __future__ import annotations

import onnx
from onnx import GraphProto, NodeProto, TensorProto

#: Layers whose float weights ONNX Runtime rounds by itself.
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: Operators past which ONNX Runtime moves a DequantizeLinear.
_MOVES = ("Flatten", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


def keep_integers(graph: GraphProto) -> None:
    """Rewrite padding, ReLUs and layers with float weights, in place; the numbers stay.

    The zero that pads is exactly the zero point, since every range includes zero.
    """
    for node in list(graph.node):
        if node.op_type in _LAYERS and not _is_dequantized(graph, node.input[1]):
            if _is_dequantized(graph, node.input[0]):
                _shield(graph, node)
            continue
        if node.op_type not in ("Pad", "Relu"):
            continue
        before, after = _producer(graph, node.input[0]), _readers(graph, node.output[0])
        if before is None or before.op_type != "DequantizeLinear" or not after:
            continue
        if any(n.op_type != "QuantizeLinear" for n in after):
            continue
        if node.op_type == "Relu":
            node.op_type = "LeakyRelu"
            node.attribute.append(onnx.helper.make_attribute("alpha", 0.0))
        elif all(list(n.input[1:]) == list(before.input[1:]) for n in after):
            _pad_integers(graph, before, node, after)


def _is_dequantized(graph: GraphProto, name: str) -> bool:
    """Return True if a DequantizeLinear makes the value, perhaps before operators that move it."""
    maker = _producer(graph, name)
    while maker is not None and maker.op_type in _MOVES:
        maker = _producer(graph, maker.input[0])
    return maker is not None and maker.op_type == "DequantizeLinear"


def _shield(graph: GraphProto, node: NodeProto) -> None:
    """Read the input through a sum of one term, which hides DequantizeLinear from the optimizer."""
    shield = onnx.helper.make_node("Sum", [node.input[0]], [f"{node.output[0]}_input"])
    graph.node.insert(list(graph.node).index(node), shield)
    node.input[0] = shield.output[0]


def _pad_integers(
    graph: GraphProto, before: NodeProto, pad: NodeProto, after: list[NodeProto]
) -> None:
    """``Dequantize -> Pad -> Quantize`` becomes ``Pad`` of integers, or of the next Conv."""
    integers, zero_point = before.input[0], before.input[2]
    readers = [n for node in after for n in _readers(graph, node.output[0])]
    convs = [n for node in readers for n in _readers(graph, node.output[0])]
    padding = _spatial_padding(graph, pad)
    absorbed = padding is not None and all(
        n.op_type == "DequantizeLinear" and not _is_output(graph, n) for n in readers
    )
    if absorbed and convs and all(_takes_padding(n, readers) for n in convs):
        result = integers
        for conv in convs:
            _add_padding(conv, padding or [])
        graph.node.remove(pad)
    else:
        result = pad.output[0]
        mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
        if mode == b"constant":
            pad.input[:] = [integers, pad.input[1], zero_point, *pad.input[3:]]
        else:
            pad.input[0] = integers
    for reader in readers:
        reader.input[0] = result
    for node in after:
        graph.node.remove(node)
    if not _readers(graph, before.output[0]) and not _is_output(graph, before):
        graph.node.remove(before)


def _spatial_padding(graph: GraphProto, pad: NodeProto) -> list[int] | None:
    """Return the pads after ``[N, C]``, begins then ends; None where Conv cannot do it."""
    if any(a.name == "mode" and a.s != b"constant" for a in pad.attribute) or len(pad.input) > 3:
        return None
    stored = next((t for t in graph.initializer if t.name == pad.input[1]), None)
    if stored is None:
        return None
    amounts = [int(n) for n in onnx.numpy_helper.to_array(stored)]
    begins, ends = amounts[: len(amounts) // 2], amounts[len(amounts) // 2 :]
    if any(begins[:2] + ends[:2]) or min(amounts) < 0:
        return None
    return begins[2:] + ends[2:]


def _takes_padding(node: NodeProto, sources: list[NodeProto]) -> bool:
    """Whether ``node`` convolves what one of ``sources`` gives, with pads of its own."""
    auto = next((a.s for a in node.attribute if a.name == "auto_pad"), b"NOTSET")
    read = {n.output[0] for n in sources}
    return node.op_type == "Conv" and auto == b"NOTSET" and node.input[0] in read


def _add_padding(conv: NodeProto, padding: list[int]) -> None:
    own = next((a for a in conv.attribute if a.name == "pads"), None)
    if own is None:
        conv.attribute.append(onnx.helper.make_attribute("pads", padding))
    else:
        own.ints[:] = [a + b for a, b in zip(own.ints, padding, strict=True)]


def drop_unused(graph: GraphProto) -> None:
    """Forget the initializers that nothing reads."""
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    unused: list[TensorProto] = [t for t in graph.initializer if t.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)


def _producer(graph: GraphProto, name: str) -> NodeProto | None:
    return next((n for n in graph.node if name in n.output), None)


def _readers(graph: GraphProto, name: str) -> list[NodeProto]:
    return [n for n in graph.node if name in n.input]


def _is_output(graph: GraphProto, node: NodeProto) -> bool:
    return any(o.name in node.output for o in graph.output)
