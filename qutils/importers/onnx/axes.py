"""The axes of a network's inputs: the batch is opened, the others get the sizes of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, ValueInfoProto
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.graph.axes import Dynamic, Layout, layout
from qutils.graph.inputs import INPUT
from qutils.importers.onnx.read import inputs_of, shape_of

#: What the only input may be called besides its name in the file.
_ONLY = (INPUT, "inputs")


def open_axes(
    path: Path, model: ModelProto, given: Mapping[str, Tensor], dynamic: Dynamic | None = None
) -> Layout:
    """Return the batch axis of each input, None of a scalar, and the axes that are to stay open.

    A recurrent state ``[layers, N, C]`` has it where the file names the axis as it names the first
    of the first input, or where the data has as many entries as samples.

    Raises:
        InvalidInputError: the data does not tell it; ``dynamic`` names an axis that the file fixes,
            or there is no data to show the sizes of others.
    """
    declared = {value.name: shape_of(value) for value in inputs_of(model)}
    first = next((shape[0] for shape in declared.values() if shape), None)
    named = {
        name: shape.index(first)
        for name, shape in declared.items()
        if isinstance(first, str) and first != "?" and first in shape
    }
    if not given:
        if dynamic:
            raise InvalidInputError(
                f"dynamic opens axes of {path}, whose sizes an example shows. Give one: "
                "load_onnx(path, example, dynamic=...)."
            )
        batch = {name: named.get(name, 0) if shape else None for name, shape in declared.items()}
        return Layout(batch, {name: {} for name in declared})
    wanted: dict[str, dict[int, str | None]] = {
        name: {axis: "batch"}
        for name, axis in named.items()
        if given[name].ndim == len(declared[name])
    }
    only = next(iter(declared)) if len(declared) == 1 else ""
    for given_name, axes in (dynamic or {}).items():
        name = only if only and given_name in _ONLY else given_name
        wanted[name] = {**wanted.get(name, {}), **axes}
    found = layout([given], wanted)
    for name, names in found.names.items():
        fixed = [axis for axis in names if isinstance(declared[name][axis], int)]
        if fixed:
            raise InvalidInputError(
                f"dynamic opens axis {fixed[0]} of {name}, which {path} fixes at "
                f"{declared[name][fixed[0]]}. Leave it out, or export the model with the axis open."
            )
    return found


def with_batch(shape: Sequence[int], axis: int | None, batch: int | str) -> list[int | str]:
    """Return the shape of so many samples of an input; that of one, if it has no batch axis.

    >>> with_batch((2, 64), 1, "N"), with_batch((), None, "N")
    ([2, 'N', 64], [])
    """
    return [*shape] if axis is None else [*shape[:axis], batch, *shape[axis:]]


def settled_shape(
    path: Path, value: ValueInfoProto, given: Sequence[int] | None, batch: int | None = 0
) -> tuple[int, ...]:
    """Return the shape of one sample of an input, whose batch is on the axis ``batch``.

    ``given`` is the shape of a batch of data, which settles the axes that the file leaves open.

    Raises:
        InvalidInputError: the data does not fit, or an axis is open and there is no data.

    """
    declared = shape_of(value)
    words = f"[{', '.join(map(str, declared))}]"
    if given is not None:
        fits = len(given) == len(declared) and all(
            place == batch or not isinstance(axis, int) or axis == size
            for place, (axis, size) in enumerate(zip(declared, given, strict=True))
        )
        if not fits:
            raise InvalidInputError(
                f"{path} takes input of shape {words}, the data has {list(given)}: give data of "
                "the shape that the network takes"
            )
        return tuple(size for place, size in enumerate(given) if place != batch)
    wanted = [axis for place, axis in enumerate(declared) if place != batch]
    sizes = [axis for axis in wanted if isinstance(axis, int)]
    if len(sizes) < len(wanted):
        raise InvalidInputError(
            f"{path} takes input of shape {words}: its open axes need an example, "
            "load_onnx(path, example) with a tensor of the size to quantize for"
        )
    return tuple(sizes)


def fixed_batch(model: ModelProto, axes: Mapping[str, int | None]) -> int | None:
    """Return the batch size that every input declares; None where one leaves it open."""
    sizes = {
        shape_of(value)[axis]
        for value in inputs_of(model)
        if (axis := axes[value.name]) is not None
    }
    (size,) = sizes if len(sizes) == 1 else ("?",)
    return size if isinstance(size, int) else None


def declare_inputs(model: ModelProto, shapes: Mapping[str, Sequence[int | str]] | None) -> None:
    """Declare the inputs of these whole shapes (None: as they are), and forget derived ones.

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
        for axis, size in zip(axes, shapes[value.name], strict=True):
            axis.Clear()
            if isinstance(size, str):
                axis.dim_param = size
            else:
                axis.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
