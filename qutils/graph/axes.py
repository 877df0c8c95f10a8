"""Which axes of a network's inputs are open: the batch, and those whose size varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.graph.inputs import BATCH
from qutils.nested import Flat

#: By input: axis -> its name. ``"batch"`` marks the batch, ``None`` an axis of fixed size.
Dynamic = Mapping[str, Mapping[int, str | None]]
#: What users call the batch axis.
_BATCH_NAMES = ("batch", BATCH)
#: Names of axes that vary, by the number of axes of the input that has them.
_USUAL = {4: {2: "height", 3: "width"}}
_SEQUENCE = "sequence"


@dataclass(frozen=True)
class Layout:
    """The open axes of each input: that of the batch (None: no batch), and others by name."""

    batch: Mapping[str, int | None]
    names: Mapping[str, Mapping[int, str]]

    def part(self, batch: Mapping[str, Tensor], start: int, stop: int) -> dict[str, Tensor]:
        """Return the samples ``start .. stop - 1``; an input without a batch is in every part."""
        return {
            name: x if (axis := self.batch[name]) is None else x.narrow(axis, start, stop - start)
            for name, x in batch.items()
        }

    def samples(self, batch: Mapping[str, Tensor]) -> int:
        """Return the number of samples of a batch; 1 if no input has a batch axis."""
        axes = ((x, self.batch[name]) for name, x in batch.items())
        return next((x.shape[axis] for x, axis in axes if axis is not None), 1)


def layout(batches: Sequence[Mapping[str, Tensor]], dynamic: Dynamic | None = None) -> Layout:
    """Find the open axes of inputs.

    The batch is the axis that ``dynamic`` calls ``"batch"``. Otherwise it is the first, or, of an
    input whose first axis has another size (a recurrent state ``[layers, N, C]``), the only one
    that has as many entries as the first input has samples. Scalars have none. Without ``dynamic``,
    axes whose size differs between the batches are open; those that vary alike share a name.

    Args:
        batches: one or more batches by input name, at least one.

    Raises:
        InvalidInputError: the batch axis of an input cannot be told; ``dynamic`` names an input or
            axis that does not exist.

    >>> import torch
    >>> made = [{"ids": torch.zeros(3, n), "mask": torch.zeros(3, n)} for n in (5, 7)]
    >>> layout(made).names
    {'ids': {1: 'sequence'}, 'mask': {1: 'sequence'}}
    """
    given = _checked(batches[0], dynamic or {})
    batch = _batch_axes(batches, given)
    if dynamic is None:
        return Layout(batch, _varying(batches, batch))
    names = {
        name: {
            axis: said
            for axis, said in given.get(name, {}).items()
            if said is not None and axis != batch[name]
        }
        for name in batches[0]
    }
    return Layout(batch, names)


def _checked(batch: Mapping[str, Tensor], dynamic: Dynamic) -> dict[str, dict[int, str | None]]:
    """``dynamic`` with axes counted from the front.

    Raises:
        InvalidInputError: an unknown input or axis, or a name that is none.
    """
    found: dict[str, dict[int, str | None]] = {}
    for name, axes in _spread(batch, dynamic).items():
        if name not in batch:
            raise InvalidInputError(
                f"dynamic names the input {name!r}; the inputs are {', '.join(batch)}. Correct the "
                "name."
            )
        if not isinstance(axes, Mapping):
            raise InvalidInputError(
                f"Expected names by axis for {name!r}, got {axes!r}. Give "
                f"dynamic={{{name!r}: {{1: 'sequence'}}}}."
            )
        rank = batch[name].ndim
        for axis, said in axes.items():
            if not isinstance(axis, int) or not -rank <= axis < rank:
                raise InvalidInputError(
                    f"dynamic names axis {axis!r} of {name!r}, which has {rank} axes "
                    f"{list(batch[name].shape)}. Count them from 0."
                )
            if said is not None and not (isinstance(said, str) and said.isidentifier()):
                raise InvalidInputError(
                    f"Expected a name for axis {axis} of {name!r}, got {said!r}. Give letters, "
                    "digits and underscores, as 'sequence'."
                )
            found.setdefault(name, {})[axis % rank] = said
    return found


def _spread(batch: Mapping[str, Tensor], dynamic: Dynamic) -> Dynamic:
    """``dynamic`` with what it says of a container said of each tensor inside."""
    given = batch.given if isinstance(batch, Flat) else batch
    found: dict[str, Mapping[int, str | None]] = {}
    for name, axes in dynamic.items():
        held = name in given and name not in batch
        inside = [one for one in batch if one.startswith(f"{name}_")] if held else []
        found |= dict.fromkeys(inside or [name], axes)
    return found


def _batch_axes(
    batches: Sequence[Mapping[str, Tensor]], given: Mapping[str, Mapping[int, str | None]]
) -> dict[str, int | None]:
    """The batch axis of each input."""
    first = batches[0]
    known = {
        name: next((axis for axis, said in axes.items() if said in _BATCH_NAMES), None)
        for name, axes in given.items()
        if any(said in _BATCH_NAMES for said in axes.values()) or 0 in axes
    }
    known |= {name: None for name, x in first.items() if x.ndim == 0}
    sizes = [_samples(batch, known) for batch in batches]
    return {
        name: known[name] if name in known else _batch_axis(name, batches, sizes) for name in first
    }


def _samples(batch: Mapping[str, Tensor], known: Mapping[str, int | None]) -> int:
    """The number of samples: of the first input whose batch axis is known, or is the first."""
    for name, x in batch.items():
        if (axis := known.get(name, 0)) is not None:
            return int(x.shape[axis])
    return 1


def _batch_axis(
    name: str, batches: Sequence[Mapping[str, Tensor]], sizes: Sequence[int]
) -> int | None:
    """The first axis if it has as many entries as there are samples, else the only one that has."""
    shapes = [batch[name].shape for batch in batches]
    fitting = [
        axis
        for axis in range(len(shapes[0]))
        if all(shape[axis] == size for shape, size in zip(shapes, sizes, strict=True))
    ]
    if 0 in fitting:
        return 0
    if len(fitting) == 1:
        return fitting[0]
    pairs = zip(batches, sizes, strict=True)
    odd = next((batch for batch, size in pairs if size not in batch[name].shape), batches[0])
    said = ", ".join(f"{other} {list(x.shape)}" for other, x in odd.items())
    raise InvalidInputError(
        f"Inputs of one batch hold different numbers of samples: {said}. Give as many of each; if "
        f"the batch is another axis of {name}, say which: dynamic={{{name!r}: {{1: 'batch'}}}} "
        f"({{0: None}} if it has none), or --dynamic {name}:1=batch ({name}:0=none)."
    )


def _varying(
    batches: Sequence[Mapping[str, Tensor]], batch: Mapping[str, int | None]
) -> dict[str, dict[int, str]]:
    """Names of the axes that differ between batches; those that vary alike share one."""
    columns = {
        (name, axis): tuple(each[name].shape[axis] for each in batches)
        for name, x in batches[0].items()
        for axis in range(x.ndim)
        if axis != batch[name]
    }
    groups: dict[tuple[int, ...], str] = {}
    found: dict[str, dict[int, str]] = {name: {} for name in batches[0]}
    for (name, axis), sizes in columns.items():
        if len(set(sizes)) > 1:
            if sizes not in groups:
                usual = _USUAL.get(batches[0][name].ndim, {}).get(axis, _SEQUENCE)
                groups[sizes] = _free(usual, groups.values())
            found[name][axis] = groups[sizes]
    return found


def _free(name: str, taken: object) -> str:
    """The name, numbered if another axis has it."""
    used, number = set(taken), 1  # type: ignore[call-overload]
    while (found := name if number == 1 else f"{name}_{number}") in used:
        number += 1
    return found
