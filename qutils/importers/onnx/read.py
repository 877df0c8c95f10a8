"""Read an ONNX file, and refuse at once what is no float network."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.inliner
from onnx import ModelProto, TensorProto, ValueInfoProto

from qutils.backends.shared.onnx_file import read_onnx
from qutils.backends.shared.qdq_graph import integer_operators
from qutils.errors import DataError, UnsupportedError
from qutils.reading import reading

_LIMIT = 2**31 - 1  # bytes of one protobuf message
#: Types of inputs; integers and booleans as they are, floats as float32.
_IMPORTED = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT64", "INT32", "UINT8", "INT8", "BOOL")


def read(path: Path) -> ModelProto:
    """Return the model of a file, with the tensors that it keeps in files beside it.

    Functions that the file defines itself are written out.

    Raises:
        DataError: the file, or one beside it, is missing, truncated or corrupt.
        UnsupportedError: it is quantized already, or does not map tensors to tensors.
    """
    model = read_onnx(path, external=False)
    with reading(path, "Export it again"):
        _refuse_quantized(path, model)
        _check_interface(path, model)
        _load_external(path, model)
        return onnx.inliner.inline_local_functions(model) if model.functions else model


def batch_input(model: ModelProto) -> ValueInfoProto:
    """Return the first input."""
    return inputs_of(model)[0]


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs that are no stored tensors (old files list those as well)."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def shape_of(value: ValueInfoProto) -> tuple[int | str, ...]:
    """Declared shape; an open axis is its name, or ``"?"`` (some exporters write 0 or -1)."""
    axes = value.type.tensor_type.shape.dim
    return tuple(a.dim_value if a.dim_value > 0 else a.dim_param or "?" for a in axes)


def _refuse_quantized(path: Path, model: ModelProto) -> None:
    found = integer_operators(model)
    if found == ("DequantizeLinear",) and _dequantizes_weights_alone(model):
        return  # a float network that stores its weights as integers
    if found:
        raise UnsupportedError(
            f"{path} is quantized already ({', '.join(found)}): give the float file it was made "
            "from"
        )


def _dequantizes_weights_alone(model: ModelProto) -> bool:
    stored = {tensor.name for tensor in model.graph.initializer}
    stored |= {n.output[0] for n in model.graph.node if n.op_type == "Constant"}
    return all(
        node.input[0] in stored for node in model.graph.node if node.op_type == "DequantizeLinear"
    )


def _check_interface(path: Path, model: ModelProto) -> None:
    inputs, outputs = inputs_of(model), list(model.graph.output)
    if not inputs or not outputs:
        raise UnsupportedError(
            f"{path} has the inputs {', '.join(v.name for v in inputs) or 'none'} and the outputs "
            f"{', '.join(v.name for v in outputs) or 'none'}: a network needs one of each at least"
        )
    for value in (*inputs, *outputs):
        if not value.type.HasField("tensor_type") and value.type.WhichOneof("value"):
            kind = value.type.WhichOneof("value").removesuffix("_type")
            raise UnsupportedError(
                f"{path}: {value.name} is a {kind}, networks map tensors to tensors here. Cut out "
                "the part that does with onnx.utils.extract_model."
            )
    for value in inputs:
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if kind not in _IMPORTED:
            raise UnsupportedError(
                f"{path}: {value.name} is {kind.lower()}, quantization starts from a network in "
                "float32 with float32 inputs: export it so"
            )
        if not value.type.tensor_type.HasField("shape"):
            raise UnsupportedError(
                f"{path}: {value.name} declares no shape. Export the model with the shapes of its "
                "inputs."
            )


def _load_external(path: Path, model: ModelProto) -> None:
    """Bring in tensors stored beside the file; ``onnx`` refuses paths that lead out of its folder.

    A file that is too short would otherwise only be noticed by whoever reads the tensor.
    """
    try:
        onnx.load_external_data_for_model(model, str(path.resolve().parent))
        for tensor in model.graph.initializer:
            onnx.numpy_helper.to_array(tensor)
    except Exception as error:
        raise DataError(
            f"{path} keeps tensors in files beside it that cannot be read: {_said(error)}. Keep "
            "the .data file next to the .onnx file, under the name it was exported with."
        ) from error
    if model.ByteSize() > _LIMIT:
        raise UnsupportedError(f"{path} holds more than 2 GiB of tensors, which is not read here")


def _said(error: BaseException) -> str:
    """First line of an error, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".: ")
