"""What a file is run on: an array, or arrays by name; made up where that can be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qutils.backends.onnxruntime.runtime import OnnxRuntime
from qutils.backends.shared.runtime import Arrays, Axis
from qutils.errors import InvalidInputError
from qutils.evaluate.bench.latency import normal_batch, samples_of


def batch_for(
    runtime: OnnxRuntime,
    before: OnnxRuntime | None,
    batch: Arrays | int | None,
    sizes: Sequence[int] | None,
) -> Arrays:
    """Return the batch that was given, or normal values for the only input of floats.

    Args:
        before: the float file, whose sizes count where this file leaves axes open.

    Raises:
        InvalidInputError: inputs that cannot be made up, or axes that are open.
    """
    if batch is not None and not isinstance(batch, int):
        return batch
    declared = runtime.declared
    if len(declared) > 1 or any(not axes or kind.kind != "f" for axes, kind in declared.values()):
        raise InvalidInputError(
            f"{runtime.path} takes {_spoken(runtime)}: values of several inputs, or of integers, "
            "cannot be made up. Give them: --data FILE.npz with one array for each, or "
            "explain(path, batch={name: array})."
        )
    if before is not None and len(before.declared) == 1:
        batch, sizes = _sizes(runtime.input_shape, before.input_shape, batch, sizes)
    return normal_batch(runtime, batch, sizes)


def same_network(one: OnnxRuntime, other: OnnxRuntime) -> bool:
    """Return True if inputs may be the same: several by name, an only one whatever its name."""
    if len(one.inputs) == len(other.inputs) == 1:
        return _fit(one.input_shape, other.input_shape)
    return one.inputs.keys() == other.inputs.keys() and all(
        _fit(axes, other.inputs[name]) for name, axes in one.inputs.items()
    )


def repeated(runtime: OnnxRuntime, batch: Arrays, times: int) -> Arrays | None:
    """Return so many copies of a batch as one; None if its samples are not on the first axes."""
    if not isinstance(batch, Mapping):
        is_open = not isinstance(runtime.input_shape[0], int)
        return np.concatenate([batch] * times) if is_open else None
    firsts = {axes[0] if axes else 1 for axes in runtime.inputs.values()}
    samples = samples_of(batch)
    if len(firsts) > 1 or isinstance(next(iter(firsts)), int):
        return None
    if any(len(x) != samples for x in batch.values()):
        return None
    return {name: np.concatenate([x] * times) for name, x in batch.items()}


def shapes_of(batch: Arrays) -> str:
    """Return the shapes of a batch in words: ``[1, 3, 8, 8]``, or ``ids [1, 6], mask [1, 6]``."""
    if not isinstance(batch, Mapping):
        return str(list(batch.shape))
    return ", ".join(f"{name} {list(x.shape)}" for name, x in batch.items())


def typed(runtime: OnnxRuntime, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return arrays in the types that the file declares; floats stay floats, integers integers.

    That of an only input comes without its name, which the float file may spell otherwise.
    """
    if len(runtime.declared) == 1 and [*arrays] in (["inputs"], [*runtime.declared]):
        return _as(next(iter(arrays.values())), runtime.dtype)
    kinds = {name: kind for name, (_, kind) in runtime.declared.items()}
    return {name: _as(x, kinds.get(name, x.dtype)) for name, x in arrays.items()}


def _as(x: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    return x.astype(kind) if x.dtype.kind == kind.kind else x


def _spoken(runtime: OnnxRuntime) -> str:
    return ", ".join(
        f"{name} [{', '.join(map(str, axes))}] {kind}"
        for name, (axes, kind) in runtime.declared.items()
    )


def _sizes(
    shape: Sequence[Axis],
    other_shape: Sequence[Axis],
    batch: int | None,
    sizes: Sequence[int] | None,
) -> tuple[int | None, Sequence[int] | None]:
    """Batch and other axes: what the float file fixes, where this file leaves it open."""
    if not _fit(other_shape, shape):
        return batch, sizes
    (first, *inner), (other, *others) = shape, other_shape
    if batch is None and not isinstance(first, int) and isinstance(other, int):
        batch = other
    if sizes is None and not all(isinstance(axis, int) for axis in inner):
        pairs = zip(inner, others, strict=True)
        found = [a if isinstance(a, int) else b for a, b in pairs]
        sizes = [size for size in found if isinstance(size, int)]
        sizes = sizes if len(sizes) == len(inner) else None
    return batch, sizes


def _fit(one: Sequence[Axis], other: Sequence[Axis]) -> bool:
    """Return True if axes that both files fix are equal; open ones fit all."""
    return len(one) == len(other) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(one, other, strict=True)
    )
