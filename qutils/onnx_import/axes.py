"""The axes of a network's input: the batch is opened, the others get the sizes of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto

from qutils.errors import InvalidInputError
from qutils.onnx_import.read import batch_input, shape_of

#: Name of the open batch axis.
BATCH = "N"


def settled_shape(path: Path, model: ModelProto, given: Sequence[int] | None) -> tuple[int, ...]:
    """Shape of one sample, ``input_shape`` of ``[N, *input_shape]``.

    ``given`` is the shape of a batch of data, which settles the axes that the file leaves open.

    Raises:
        InvalidInputError: the data does not fit, or an axis is open and there is no data.

    """
    declared = shape_of(batch_input(model))
    words = f"[{', '.join(map(str, declared))}]"
    if given is not None:
        fits = len(given) == len(declared) and all(
            not isinstance(axis, int) or axis == size
            for axis, size in zip(declared[1:], given[1:], strict=True)
        )
        if not fits:
            raise InvalidInputError(
                f"{path} takes input of shape {words}, the data has {list(given)}: give data of "
                "the shape that the network takes"
            )
        return tuple(given[1:])
    sizes = [axis for axis in declared[1:] if isinstance(axis, int)]
    if len(sizes) < len(declared) - 1:
        raise InvalidInputError(
            f"{path} takes input of shape {words}: its open axes need an example, "
            "load_onnx(path, example) with a tensor of the size to quantize for"
        )
    return tuple(sizes)


def declare_input(model: ModelProto, input_shape: Sequence[int]) -> None:
    """Declare the input ``[N, *input_shape]``, in place, and forget every shape derived before."""
    axes = batch_input(model).type.tensor_type.shape.dim
    for axis, size in zip(axes, (BATCH, *input_shape), strict=True):
        axis.Clear()
        if isinstance(size, str):
            axis.dim_param = size
        else:
            axis.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
