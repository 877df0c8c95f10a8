"""Calibration data of every kind as batches: tensors, pairs with labels, dicts by input name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.graph.axes import Dynamic, Layout, layout
from qutils.graph.inputs import INPUT
from qutils.graph.signature import Batch
from qutils.nested import flat, rebuilt

#: A tensor of all calibration pictures is served in batches of this size: memory stays bounded.
CHUNK = 64
#: Batches of a generator that are read before the model is traced, to see which axes vary.
AHEAD = 4


def opened(
    batches: Iterable[Any] | Batch, dynamic: Dynamic | None, argument: str = INPUT
) -> tuple[Batch, Iterator[Batch], Layout]:
    """Return the first batch, the stream that it begins, and the open axes of the inputs.

    Args:
        argument: what the model calls its only input, where batches are tensors.

    Raises:
        InvalidInputError: no batch; ``dynamic`` does not fit; the batch axis cannot be told.
    """
    stream = inputs_of(batches, dynamic)
    first = next(stream, None)
    if first is None:
        raise InvalidInputError("the calibration set is empty: give at least one batch of pictures")
    if isinstance(first, Tensor):
        if dynamic is not None:
            given = {INPUT if name == argument else name: x for name, x in dynamic.items()}
            return first, chain([first], stream), layout([{INPUT: first}], given)
        rest = list(stream) if isinstance(batches, list | tuple) else []
        alike = [x for x in rest if isinstance(x, Tensor) and x.ndim == first.ndim]
        axes = layout([{INPUT: x} for x in (first, *alike)])
        return first, chain([first], rest, stream), axes
    if dynamic is not None:
        return first, chain([first], stream), layout([first], dynamic)
    whole = isinstance(batches, list | tuple)  # in memory already
    ahead = list(islice(stream, None if whole else AHEAD - 1))
    named = [first, *(batch for batch in ahead if _alike(batch, first))]
    return first, chain([first], ahead, stream), layout(named)  # type: ignore[arg-type]


def _alike(batch: Batch, first: Mapping[str, Tensor]) -> bool:
    """Whether a batch holds the same inputs, of as many axes."""
    return (
        isinstance(batch, Mapping)
        and batch.keys() == first.keys()
        and all(batch[name].ndim == x.ndim for name, x in first.items())
    )


def inputs_of(batches: Iterable[Any] | Batch, dynamic: Dynamic | None = None) -> Iterator[Batch]:
    """The inputs of each batch on the CPU, where the graph is; labels dropped."""
    if isinstance(batches, Tensor):
        if batches.ndim == 0:
            raise InvalidInputError("calibration pictures are a single number: give [N, ...]")
        batches = torch.split(batches, CHUNK) if batches.numel() else ()
    if isinstance(batches, Mapping):
        batches = _parts(batches, dynamic)
    if not _iterable(batches):
        raise InvalidInputError(
            f"the calibration set is a {type(batches).__name__}: give batches of pictures, or one "
            "tensor [N, ...]"
        )
    for index, batch in enumerate(batches):
        if isinstance(batch, Mapping):
            batch = flat(batch)
            _check_named(batch, f"calibration batch {index}")
            yield flat(rebuilt(batch, {name: x.detach().cpu() for name, x in batch.items()}))
            continue
        x = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"calibration batch {index} is a {type(x).__name__}: "
                "give tensors or (tensor, label) pairs, or dicts of tensors by input name"
            )
        if x.numel():
            yield x.detach().cpu()


def _parts(samples: Mapping[str, Tensor], dynamic: Dynamic | None) -> Iterator[dict[str, Tensor]]:
    """All samples by input name, in batches."""
    samples = flat(samples)
    _check_named(samples, "the calibration set")
    axes = layout([samples], dynamic)
    for start in range(0, whole := axes.samples(samples), CHUNK):
        yield rebuilt(samples, axes.part(samples, start, min(start + CHUNK, whole)))


def _check_named(batch: Mapping[str, Any], what: str) -> None:
    if not batch:
        raise InvalidInputError(f"{what} is an empty dict: give tensors by input name")
    for name, x in batch.items():
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"{what} holds a {type(x).__name__} under {name!r}: give tensors by input name "
                "(torch.from_numpy(x))"
            )
        if not x.numel():
            raise InvalidInputError(
                f"{what} holds no samples under {name!r}: {list(x.shape)}. Give at least one."
            )


def _iterable(value: object) -> bool:
    """Whether ``for`` takes it: also what has no ``__iter__`` but ``__getitem__``."""
    try:
        return iter(value) is not None  # type: ignore[call-overload]
    except TypeError:
        return False
