"""Sizes that a graph computes from its own shapes become numbers, all but that of the batch."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from qutils.onnx_import.opset import refuse
from qutils.onnx_import.read import shape_of

Shape = tuple[int | str, ...]
_SIZED = ("Reshape", "Expand")


def infer(model: ModelProto) -> None:
    """Infer every shape anew, in place."""
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    model.CopyFrom(onnx.shape_inference.infer_shapes(model, data_prop=True))


def shapes_of(model: ModelProto) -> dict[str, Shape]:
    """The shapes that are known, by name; an open axis is a word."""
    graph = model.graph
    known = {v.name: shape_of(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    return known | {t.name: tuple(t.dims) for t in graph.initializer}


def fold_sizes(model: ModelProto) -> int:
    """Store what ``Gather(Shape(x), i)`` gives where axis i is settled; returns how many."""
    infer(model)
    shapes, stored = shapes_of(model), {t.name: t for t in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "Shape"}
    found = 0
    for node in list(model.graph.node):
        maker = makers.get(node.input[0]) if node.op_type == "Gather" else None
        if maker is None or node.input[1] not in stored:
            continue
        cut = {a.name: a.i for a in maker.attribute}
        shape = shapes.get(maker.input[0], ())[cut.get("start", 0) : cut.get("end")]
        index = numpy_helper.to_array(stored[node.input[1]])
        sizes = [shape[i] if -len(shape) <= i < len(shape) else "?" for i in index.reshape(-1)]
        if all(isinstance(size, int) for size in sizes):
            array = np.array(sizes, np.int64).reshape(index.shape)
            model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
            model.graph.node.remove(node)
            found += 1
    return found


def settle_sizes(model: ModelProto) -> None:
    """Reshape and Expand name their sizes, the batch left open; one to ``[N, -1]`` is a Flatten.

    A size stored for the batch of the exporter's example hides the batch from all that follows, so
    it goes on until nothing changes.

    Raises:
        UnsupportedError: sizes that are computed from more than the size of the batch.
    """
    settled: set[str] = set()
    changed = True
    while changed:
        infer(model)
        changed = False
        shapes, stored = shapes_of(model), {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            source = shapes.get(node.input[0], ()) if node.op_type in _SIZED else ()
            if not source or isinstance(source[0], int) or node.output[0] in settled:
                continue
            tensor = stored.get(node.input[1])
            wanted = None if tensor is None else numpy_helper.to_array(tensor).tolist()
            _settle(model, node, wanted, source, shapes.get(node.output[0], ()))
            settled.add(node.output[0])
            changed = True
    stored = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _SIZED and node.input[1] not in stored:
            raise refuse(node, "its sizes are computed from more than that of the batch")


def _settle(
    model: ModelProto, node: NodeProto, wanted: list[int] | None, source: Shape, result: Shape
) -> None:
    """Store the sizes of one node; ``wanted`` are those stored already, None if computed."""
    computed = [size if isinstance(size, int) else -1 for size in result]
    if node.op_type == "Expand":
        sizes = computed if wanted is None else wanted
        if len(sizes) == len(source):
            sizes = [1, *sizes[1:]]  # keeps what there is
    else:
        sizes = computed if wanted is None else _with_open_batch(wanted, source)
        if _is_flatten(sizes, source):
            node.op_type = "Flatten"
            del node.input[1:]
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("axis", 1))
            return
    if not sizes or sizes.count(-1) > 1 or (node.op_type == "Expand" and -1 in sizes):
        raise refuse(node, "its sizes are computed from more than that of the batch")
    constant = numpy_helper.from_array(np.array(sizes, np.int64), f"{node.output[0]}_sizes")
    model.graph.initializer.append(constant)
    del node.attribute[:]  # allowzero: no zero is left that means nothing
    node.input[1] = constant.name


def _is_flatten(sizes: list[int], source: Shape) -> bool:
    width = _width(source[1:])
    return width is not None and sizes in ([-1, width], [0, width], [0, -1])


def _width(inner: Shape) -> int | None:
    """Values of one sample, if its shape is known."""
    sizes = [size for size in inner if isinstance(size, int)]
    return math.prod(sizes) if inner and len(sizes) == len(inner) else None


def _with_open_batch(wanted: list[int], source: Shape) -> list[int]:
    """Stored sizes, with the first axis open if it is the batch of the exporter's example."""
    width = _width(source[1:])
    if width is None or -1 in wanted[1:]:
        return [0, *wanted[1:]] if wanted[0] > 0 else wanted
    sizes = [source[i] if size == 0 else size for i, size in enumerate(wanted) if i]
    known = [size for size in sizes if isinstance(size, int)]
    alike = len(known) == len(sizes) and math.prod(known) == width
    return [-1, *known] if alike else wanted
