"""Samples of a network that takes several tensors, or integers: arrays by name of an .npz file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.graph.axes import Dynamic, Layout, layout
from qutils.nested import call_named

BATCH = 64


@dataclass(frozen=True)
class NamedSamples:
    """Tensors by the names of a network's inputs, cut and indexed like one tensor.

    ``axes`` holds the batch axis of those whose batch is not the first axis; None if one has none.
    """

    tensors: dict[str, Tensor]
    axes: Mapping[str, int | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return self._layout.samples(self.tensors)

    def __getitem__(self, index: slice | Tensor) -> NamedSamples:
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        picked = {
            name: x if (axis := self.axes.get(name, 0)) is None else x.index_select(axis, index)
            for name, x in self.tensors.items()
        }
        return NamedSamples(picked, self.axes)

    def renamed(self, names: Mapping[str, str]) -> NamedSamples:
        """The same samples under other names."""
        tensors = {names.get(name, name): x for name, x in self.tensors.items()}
        return NamedSamples(tensors, {names.get(n, n): axis for n, axis in self.axes.items()})

    def dynamic(self, names: Dynamic) -> Dynamic:
        """Names of open axes as ``observe`` takes them, with the batch axes of these samples."""
        found: dict[str, dict[int, str | None]] = {n: dict(axes) for n, axes in names.items()}
        for name, axis in self.axes.items():
            of_batch: dict[int, str | None] = {} if axis is None else {axis: "batch"}
            if self.tensors[name].ndim:
                found[name] = {0: None, **of_batch, **found.get(name, {})}
        return found

    @property
    def _layout(self) -> Layout:
        return Layout({name: self.axes.get(name, 0) for name in self.tensors}, {})

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Batches by name, as ``observe`` takes them."""
        for start in range(0, len(self), BATCH):
            yield self[start : start + BATCH].tensors

    def numpy(self) -> dict[str, NDArray[Any]]:
        """The same as arrays, as a runtime takes them."""
        return {name: x.numpy() for name, x in self.tensors.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name} [{self._axes(name)}]" for name in self.tensors)

    def _axes(self, name: str) -> str:
        batch = self.axes.get(name, 0)
        sizes = enumerate(self.tensors[name].shape)
        return ", ".join("N" if axis == batch else str(size) for axis, size in sizes)


@dataclass(frozen=True)
class NamedPairs:
    """Batches ``(tensors by name, labels)``, each time in another order; whole ones only."""

    samples: NamedSamples
    labels: Tensor
    batch_size: int = 1
    seed: int = 0
    _passes: Iterator[int] = field(default_factory=count, compare=False)

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + next(self._passes))
        order = torch.randperm(len(self.labels), generator=generator)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            index = order[start : start + self.batch_size]
            yield self.samples[index].tensors, self.labels[index]


def named_samples(
    arrays: Mapping[str, NDArray[Any]], path: Path, dynamic: Dynamic | None = None
) -> NamedSamples:
    """Return the arrays of a file as samples; floats become float32, integers int64.

    The batch may be another axis than the first (a recurrent state ``[layers, N, C]``), and scalars
    have none; see ``qutils.graph.axes``.

    Raises:
        InvalidInputError: unequal numbers of samples or none, NaN or Inf, text; ``dynamic`` names
            an input or axis that does not exist.
    """
    tensors = {name: _tensor(x, name, path) for name, x in arrays.items()}
    said = ", ".join(f"{name} {list(x.shape)}" for name, x in arrays.items())
    if not all(x.numel() for x in tensors.values()):
        raise InvalidInputError(f"{path} holds empty arrays: {said}. Give at least one sample.")
    try:
        axes = layout([tensors], dynamic or {}).batch
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    return NamedSamples(tensors, {name: axis for name, axis in axes.items() if axis != 0})


def _tensor(x: NDArray[Any], name: str, path: Path) -> Tensor:
    if np.issubdtype(x.dtype, np.floating):
        if not np.isfinite(x).all():
            raise InvalidInputError(f"{path} holds NaN or Inf in {name!r}. Remove such samples.")
        return torch.from_numpy(np.asarray(x, dtype=np.float32, order="C"))
    if np.issubdtype(x.dtype, np.integer):
        return torch.from_numpy(np.asarray(x, dtype=np.int64, order="C"))
    if x.dtype == np.bool_:
        return torch.from_numpy(np.asarray(x, order="C"))
    raise InvalidInputError(
        f"{path} holds {x.dtype} in {name!r}. Give floats, integers or booleans."
    )


def run_on(model: torch.nn.Module, x: Tensor | NamedSamples) -> Any:
    """Return what a network makes of samples."""
    return call_named(model, x.tensors) if isinstance(x, NamedSamples) else model(x)
