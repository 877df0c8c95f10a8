"""The axes of a network's inputs: the batch is opened, the others get the sizes of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, ValueInfoProto

from qutils.errors import InvalidInputError
from qutils.onnx_import.read import inputs_of, shape_of

#: Name of the open batch axis.
BATCH = "N"


def settled_shape(
    path: Path, value: ValueInfoProto, given: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the shape of one sample of an input ``[N, *shape]``.

    ``given`` is the shape of a batch of data, which settles the axes that the file leaves open.

    Raises:
        InvalidInputError: the data does not fit, or an axis is open and there is no data.

    """
    declared = shape_of(value)
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


def fixed_batch(model: ModelProto) -> int | None:
    """Return the batch size that every input declares; None where one leaves it open."""
    sizes = {shape_of(value)[0] for value in inputs_of(model)}
    (size,) = sizes if len(sizes) == 1 else ("?",)
    return size if isinstance(size, int) else None


def declare_inputs(model: ModelProto, shapes: Mapping[str, Sequence[int]] | None) -> None:
    """Declare the inputs ``[N, *shape]`` (None: as they are), and forget every derived shape.

    Stored tensors that old files list as inputs, which could be replaced from outside, are removed
    from the list. In place.
    """
    kept = inputs_of(model)
    for value in [v for v in model.graph.input if v.name not in {k.name for k in kept}]:
        model.graph.input.remove(value)
    for value in kept:
        if shapes is None:
            continue
        axes = value.type.tensor_type.shape.dim
        for axis, size in zip(axes, (BATCH, *shapes[value.name]), strict=True):
            axis.Clear()
            if isinstance(size, str):
                axis.dim_param = size
            else:
                axis.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
