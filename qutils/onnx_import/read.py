"""Read an ONNX file, and refuse at once what is no float network of one input and one output."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from qutils.errors import DataError, UnsupportedError
from qutils.export.onnx_file import read_onnx
from qutils.export.qdq_graph import integer_operators

_LIMIT = 2**31 - 1  # bytes of one protobuf message


def read(path: Path) -> ModelProto:
    """The model of a file, with the tensors that it keeps in files beside it.

    Raises:
        DataError: the file, or one beside it, is missing, truncated or corrupt.
        UnsupportedError: it is quantized already, or does not map one float32 tensor to one.
    """
    model = read_onnx(path, external=False)
    _refuse_quantized(path, model)
    _check_interface(path, model)
    _load_external(path, model)
    return model


def batch_input(model: ModelProto) -> ValueInfoProto:
    """The only input that is no stored tensor (files of old exporters list those as well)."""
    return _inputs(model)[0]


def shape_of(value: ValueInfoProto) -> tuple[int | str, ...]:
    """Declared shape; an open axis is its name, or ``"?"``."""
    axes = value.type.tensor_type.shape.dim
    return tuple(a.dim_value if a.HasField("dim_value") else a.dim_param or "?" for a in axes)


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _refuse_quantized(path: Path, model: ModelProto) -> None:
    found = integer_operators(model)
    if found:
        raise UnsupportedError(
            f"{path} is quantized already ({', '.join(found)}): give the float file it was made "
            "from"
        )


def _check_interface(path: Path, model: ModelProto) -> None:
    inputs, outputs = _inputs(model), list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise UnsupportedError(
            f"{path} has the inputs {', '.join(v.name for v in inputs) or 'none'} and the outputs "
            f"{', '.join(v.name for v in outputs) or 'none'}: networks map one tensor to one here; "
            "cut out the part that does with onnx.utils.extract_model"
        )
    for value in (*inputs, *outputs):
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            raise UnsupportedError(
                f"{path}: {value.name} is {TensorProto.DataType.Name(kind).lower()}, quantization "
                "starts from a network in float32 with float32 inputs: export it so"
            )
    if len(shape_of(inputs[0])) < 2:
        raise UnsupportedError(
            f"{path} takes {list(shape_of(inputs[0]))}: an input needs a batch and more axes"
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
