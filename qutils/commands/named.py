"""Samples of a network that takes several tensors, or integers: arrays by name of an .npz file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qutils.errors import InvalidInputError

BATCH = 64


@dataclass(frozen=True)
class NamedSamples:
    """Tensors ``[N, ...]`` by the names of a network's inputs, cut and indexed like one tensor."""

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: slice | Tensor) -> NamedSamples:
        return NamedSamples({name: x[index] for name, x in self.tensors.items()})

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Batches by name, as ``observe`` takes them."""
        for start in range(0, len(self), BATCH):
            yield self[start : start + BATCH].tensors

    def numpy(self) -> dict[str, NDArray[Any]]:
        """The same as arrays, as a runtime takes them."""
        return {name: x.numpy() for name, x in self.tensors.items()}

    def __str__(self) -> str:
        shapes = (
            f"{name} [N, {', '.join(map(str, x.shape[1:]))}]" if x.ndim > 1 else f"{name} [N]"
            for name, x in self.tensors.items()
        )
        return ", ".join(shapes)


def named_samples(arrays: Mapping[str, NDArray[Any]], path: Path) -> NamedSamples:
    """Return the arrays of a file as samples; floats become float32, integers int64.

    Raises:
        InvalidInputError: unequal numbers of samples or none, NaN or Inf, text.
    """
    sizes = {name: len(x) if x.ndim else 0 for name, x in arrays.items()}
    if len(set(sizes.values())) > 1 or not min(sizes.values()):
        said = ", ".join(f"{name} {list(x.shape)}" for name, x in arrays.items())
        raise InvalidInputError(
            f"{path} holds arrays of different lengths, or empty ones: {said}. Give [N, ...] for "
            "each input, the same N for all."
        )
    return NamedSamples({name: _tensor(x, name, path) for name, x in arrays.items()})


def _tensor(x: NDArray[Any], name: str, path: Path) -> Tensor:
    if np.issubdtype(x.dtype, np.floating):
        if not np.isfinite(x).all():
            raise InvalidInputError(f"{path} holds NaN or Inf in {name!r}. Remove such samples.")
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    if np.issubdtype(x.dtype, np.integer):
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.int64))
    if x.dtype == np.bool_:
        return torch.from_numpy(np.ascontiguousarray(x))
    raise InvalidInputError(
        f"{path} holds {x.dtype} in {name!r}. Give floats, integers or booleans."
    )


def run_on(model: torch.nn.Module, x: Tensor | NamedSamples) -> Any:
    """Return what a network makes of samples."""
    return model(**x.tensors) if isinstance(x, NamedSamples) else model(x)
