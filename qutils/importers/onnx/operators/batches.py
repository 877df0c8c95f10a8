"""Sizes that an exporter stored for the batch of its example are opened for any batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from qutils.graph.inputs import BATCH
from qutils.importers.onnx.call import Call, Made, made
from qutils.importers.onnx.values import Batch, Size, Value, probes, spoken


def reshape(call: Call) -> Made:
    """Return a reshape in numbers, -1 for the size that depends on the batch."""
    source = call.x.shape
    wanted = _explicit(call, call.sizes(1), source)
    if not call.x.is_static and not any(isinstance(size, Batch) for size in wanted):
        wanted = _opened(call, wanted, source)
    result = _resolved(call, wanted, source)
    if _is_flatten(source, result):
        return made(torch.flatten, call.x, start_dim=1)
    if sum(isinstance(size, Batch) for size in result) == 1:
        result = [-1 if isinstance(size, Batch) else size for size in result]
    return made(_reshaped, call.x, sizes=result)


def _reshaped(x: Tensor, sizes: Sequence[int]) -> Tensor:
    return x.reshape(list(sizes))


def _explicit(call: Call, wanted: Sequence[Size], source: Sequence[Size]) -> list[Size]:
    """Sizes of 0 are those that the input has."""
    if call.attribute("allowzero", 0):
        return list(wanted)
    return [source[i] if size == 0 else size for i, size in enumerate(wanted)]


def _opened(call: Call, wanted: list[Size], source: tuple[Size, ...]) -> list[Size]:
    """Sizes with that of the exporter's batch replaced by the open one, where there is one."""
    axis = call.x.batch_axis
    if axis is None:
        return wanted
    batch: Batch = source[axis]  # type: ignore[assignment]
    inner = [size for i, size in enumerate(source) if i != axis]
    if batch.offset or batch.others or any(isinstance(size, Batch) for size in inner):
        return wanted
    each = batch.factor * math.prod(inner)  # type: ignore[arg-type]
    fixed = call.fixed_batch
    if fixed is None:
        whole = math.prod(wanted)  # type: ignore[arg-type]
        if -1 in wanted or each == 0 or whole % each:
            return wanted
        fixed = whole // each
    stored: list[int] = list(wanted)  # type: ignore[arg-type]
    if -1 in stored:
        rest = -math.prod(stored)
        if not rest or (fixed * each) % rest:
            return wanted
        stored[stored.index(-1)] = fixed * each // rest
    if math.prod(stored) != fixed * each:
        return wanted
    place = _place(stored, fixed, batch.factor, math.prod(source[:axis]))  # type: ignore[arg-type]
    if place is None:
        return wanted
    return [Batch(size // fixed) if i == place else size for i, size in enumerate(stored)]


def _place(sizes: list[int], fixed: int, factor: int, outer: int) -> int | None:
    """The axis that holds the batch: after ``outer`` values, or anywhere if axes were merged."""
    before = [math.prod(sizes[:i]) for i in range(len(sizes))]
    alone = [i for i, size in enumerate(sizes) if size == fixed]
    merged = [i for i, size in enumerate(sizes) if size % fixed == 0 and size >= fixed]
    exact = [i for i in (*alone, *merged) if before[i] == outer and factor == 1]
    inside = [i for i in merged if outer % before[i] == 0 and sizes[i] > fixed]
    split = alone if factor > 1 else []
    return next(iter((*exact, *split, *inside, *merged)), None)


def _resolved(call: Call, wanted: list[Size], source: Sequence[Size]) -> list[Size]:
    """Sizes of the result, -1 replaced by what is left."""
    columns = []
    for index in range(len(call.x.probes)):
        sizes = [_at(size, index) for size in wanted]
        whole = math.prod(_at(size, index) for size in source)
        if -1 in sizes:
            rest = -math.prod(sizes)
            sizes[sizes.index(-1)] = whole // rest if rest else 0
        if math.prod(sizes) != whole:
            raise call.refuse(
                f"{spoken(source)} does not fit into {sizes} for {_said(probes()[index])}. "
                "Export the model with an open batch axis"
            )
        columns.append(sizes)
    return [
        axis[0] if len(axis) == 1 else Batch.through(axis) for axis in zip(*columns, strict=True)
    ]


def _at(size: Size, probe: int) -> int:
    return int(size.at(probes()[probe])) if isinstance(size, Batch) else size


def _said(sizes: Mapping[str, int]) -> str:
    """``a batch of 2``, or the sizes of all open axes."""
    others = [f"{name} {size}" for name, size in sizes.items() if name != BATCH]
    return ", ".join([f"a batch of {sizes[BATCH]}", *others])


def _is_flatten(source: Sequence[Size], result: Sequence[Size]) -> bool:
    return (
        len(source) > 1
        and len(result) == 2
        and isinstance(source[0], Batch)
        and source[0] == result[0]
        and not isinstance(result[1], Batch)
    )


def copied(call: Call, parts: Sequence[Value], axis: int) -> list[Value]:
    """Parts of a ``Concat`` with those stored for one batch size copied for every sample."""
    runtime = [part for part in parts if not part.is_static]
    place = runtime[0].batch_axis if runtime else None
    if place is None or place == axis:
        return list(parts)
    whole = runtime[0].shape[place]
    return [
        part
        if not part.is_static or part.shape[place] == whole
        else along_batch(call, part, place, runtime[0])
        for part in parts
    ]


def along_batch(call: Call, part: Value, place: int, like: Value) -> Value:
    """A stored value of size 1, or of the exporter's batch, along the batch axis of another."""
    first = part.probes[0].narrow(place, 0, 1)
    if not all(
        torch.equal(row, first) for row in part.probes[0].split(1, place)
    ):  # different samples
        raise call.refuse(f"its input {part.name} is stored for a batch of one size")
    copies = (
        probe.narrow(place, 0, 1).expand(*_sized(probe.shape, place, other.shape[place]))
        for probe, other in zip(part.probes, like.probes, strict=True)
    )
    return Value(part.name, tuple(copies))


def _sized(shape: Sequence[int], place: int, size: int) -> list[int]:
    return [size if axis == place else -1 for axis in range(len(shape))]
