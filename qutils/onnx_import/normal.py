"""A graph in normal form: constants folded, the batch open, shapes settled, biases as vectors.

ONNX Runtime's basic optimization does most of it, with standard operators: it computes what is
constant, merges BatchNorm, scales and offsets into convolutions, moves the Transposes of
channels-last graphs out of the way. What hangs on the batch stays, and is settled from the shapes
that ONNX infers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import ModelProto, numpy_helper

from qutils.errors import UnsupportedError
from qutils.onnx_import.axes import declare_input
from qutils.onnx_import.opset import lifted, lower, refuse
from qutils.onnx_import.read import batch_input
from qutils.onnx_import.sizes import fold_sizes, infer, settle_sizes, shapes_of

_IR = 8  # of ONNX 1.10; since 4 stored tensors are no inputs
_QUIET = 4  # fatal errors only: what is refused is told by ours


def normalized(model: ModelProto, input_shape: Sequence[int]) -> ModelProto:
    """The same network for ``[N, *input_shape]``, in operators of set 17 at most.

    Raises:
        UnsupportedError: the file cannot be brought into this form; names node and reason.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, _IR)
    only = batch_input(copy)
    for value in [v for v in copy.graph.input if v is not only]:
        copy.graph.input.remove(value)  # stored tensors, which could be replaced from outside
    declare_input(copy, input_shape)
    copy = _simplified(lifted(copy))
    while fold_sizes(copy):  # what was folded settles shapes further down
        copy = _simplified(copy)
    lower(copy)
    settle_sizes(copy)
    _settle_same_padding(copy)
    _flatten_biases(copy)
    _order_bounds(copy)
    _global_maxima(copy)
    for node in copy.graph.node:  # absent optional inputs at the end
        while node.input and not node.input[-1]:
            del node.input[-1]
    infer(copy)
    return copy


def _simplified(model: ModelProto) -> ModelProto:
    """The graph after ONNX Runtime's basic optimization."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "basic.onnx"
        options.optimized_model_filepath = str(saved)
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = str(error).rpartition(" failed:")[2].strip() or str(error)
            raise UnsupportedError(
                f"the network does not work for batches of other sizes ({reason}): export it with "
                "an open batch axis"
            ) from error
        return onnx.load(str(saved))


def _settle_same_padding(model: ModelProto) -> None:
    """``auto_pad=SAME_*`` becomes numbers: ``(ceil(in / s) - 1) s + (k - 1) d + 1 - in`` in all."""
    shapes = shapes_of(model)
    for node in model.graph.node:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        auto = given.get("auto_pad", b"NOTSET").decode()
        if not auto.startswith("SAME"):
            continue
        sides = shapes.get(node.input[0], ())[2:]
        kernel = given.get("kernel_shape") or list(shapes.get(node.input[1], ())[2:])
        if not sides or not all(isinstance(side, int) for side in sides):
            raise refuse(node, f"auto_pad={auto} of an open size")
        if node.op_type == "ConvTranspose":
            raise refuse(node, f"auto_pad={auto}")
        ones = [1] * len(sides)
        begin, end = [], []
        for side, k, stride, dilation in zip(
            sides, kernel, given.get("strides", ones), given.get("dilations", ones), strict=True
        ):
            total = max((-(-int(side) // stride) - 1) * stride + (k - 1) * dilation + 1 - side, 0)
            small, large = total // 2, total - total // 2
            begin.append(small if auto == "SAME_UPPER" else large)
            end.append(large if auto == "SAME_UPPER" else small)
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("pads", [*begin, *end])])


def _flatten_biases(model: ModelProto) -> None:
    """A Gemm's bias ``[1, C]`` becomes ``[C]``."""
    stored = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        bias = stored.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is not None and len(bias.dims) == 2 and bias.dims[0] == 1:
            array = numpy_helper.to_array(bias).reshape(-1)
            own = numpy_helper.from_array(array, f"{node.output[0]}_bias")
            model.graph.initializer.append(own)
            node.input[2] = own.name


def _order_bounds(model: ModelProto) -> None:
    """``Max(0, x)`` becomes ``Max(x, 0)``; ``Clip`` without lower bound becomes ``Min``."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        inputs = list(node.input)
        if node.op_type in ("Max", "Min") and inputs[0] in stored and len(inputs) == 2:
            node.input[:] = inputs[::-1]
        elif node.op_type == "Clip" and len(inputs) == 3 and not inputs[1] and inputs[2]:
            node.op_type, node.input[:] = "Min", [inputs[0], inputs[2]]


def _global_maxima(model: ModelProto) -> None:
    """``GlobalMaxPool`` becomes ``ReduceMax`` over the axes in space."""
    shapes = shapes_of(model)
    for node in model.graph.node:
        if node.op_type == "GlobalMaxPool" and len(shapes.get(node.input[0], ())) == 4:
            node.op_type = "ReduceMax"
            node.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
