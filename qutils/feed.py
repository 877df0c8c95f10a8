"""What a training loop is fed: shuffled pictures, or batches just as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qutils.errors import InvalidInputError
from qutils.nested import flat

#: One tensor, or tensors by name where a network takes or returns several.
Tensors = Tensor | Mapping[str, Tensor]
Pair = tuple[Tensors, Tensors]  # inputs [B, ...], labels [B, ...]


class Stored(Protocol):
    """What gives some of its members by their places: a tensor, or files that are then read."""

    def __getitem__(self, index: Tensor, /) -> Tensor: ...


class Pictures(Protocol):
    """What training needs of data: ``images [N, ...]``, ``labels [N]``, and how to prepare them."""

    @property
    def images(self) -> Stored: ...
    @property
    def labels(self) -> Tensor: ...
    def prepare(self, images: Tensor) -> Tensor:
        """Stored images (uint8, say) to network input."""
        ...


@dataclass(frozen=True)
class Samples:
    """Ready-made network inputs and their labels as ``Pictures``."""

    images: Tensor  # [N, ...] network inputs
    labels: Tensor  # [N]

    def prepare(self, images: Tensor) -> Tensor:
        """Inputs are ready: returns them as they are."""
        return images


class Feed(Protocol):
    """Batches of a training, step by step; step ``s`` gives the same batch in every run."""

    @property
    def per_epoch(self) -> int:
        """Steps of one pass through the data."""
        ...

    def batches(self, first: int, steps: int) -> Iterator[Pair]:
        """Stored inputs and labels of the steps ``first .. steps-1``."""
        ...

    def prepare(self, images: Tensors) -> Tensors:
        """Stored inputs to network input."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """Pictures in an order of each epoch's own, drawn from ``seed``; the last odd ones left out.

    Raises:
        InvalidInputError: fewer pictures than a batch.
    """

    data: Pictures
    batch_size: int
    seed: int = 0
    augment: bool = False

    def __post_init__(self) -> None:
        if len(self.data.labels) < self.batch_size:
            raise InvalidInputError(
                f"{len(self.data.labels)} pictures do not fill one batch of {self.batch_size}: "
                "give more pictures or a smaller batch"
            )

    @property
    def per_epoch(self) -> int:
        return len(self.data.labels) // self.batch_size

    def prepare(self, images: Tensors) -> Tensors:
        return self.data.prepare(images)  # type: ignore[arg-type]

    def batches(self, first: int, steps: int) -> Iterator[Pair]:
        order, epoch = torch.empty(0, dtype=torch.long), -1
        for step in range(first, steps):
            if step // self.per_epoch != epoch:
                epoch = step // self.per_epoch
                order = torch.randperm(
                    len(self.data.labels), generator=_generator(self.seed, 1, epoch)
                )
            start = (step % self.per_epoch) * self.batch_size
            index = order[start : start + self.batch_size]
            images = self.data.images[index]
            if self.augment:
                images = shift_and_flip(images, _generator(self.seed, 2, step))
            yield images, self.data.labels[index]


class AsTheyAre:
    """Batches ``(x, y)`` of a list or a DataLoader, one a step, again from the start each epoch.

    ``x`` and ``y`` are tensors, or dicts of tensors by name.

    Memory is one batch. Only what has no length, a generator say, is first collected in memory,
    as it could be run through but once.

    Raises:
        InvalidInputError: there is no batch; while they come: one is not a pair of tensors (or
            dicts of them) with one label for each input, or there are fewer than ``len`` says.
    """

    def __init__(self, data: Iterable[Any]) -> None:
        if isinstance(data, Tensor | Mapping) or not hasattr(type(data), "__iter__"):
            raise InvalidInputError(
                f"training data is a {type(data).__name__}: give a zoo.Split, or batches (x, y)"
            )
        self._data = data if _has_length(data) else list(data)
        self.per_epoch = len(self._data)  # type: ignore[arg-type]
        if not self.per_epoch:
            raise InvalidInputError("the training set is empty: give at least one batch (x, y)")

    def prepare(self, images: Tensors) -> Tensors:
        return images

    def batches(self, first: int, steps: int) -> Iterator[Pair]:
        step = first
        while step < steps:
            start, before = step % self.per_epoch, step
            for index, batch in enumerate(islice(self._data, start, self.per_epoch), start):
                yield _checked(batch, index)
                step += 1
                if step == steps:
                    return
            if step - before < self.per_epoch - start:
                raise InvalidInputError(
                    f"the training set gave {start + step - before} batches where its length says "
                    f"{self.per_epoch}: give one that can be run through once an epoch"
                )


def _has_length(data: Iterable[Any]) -> bool:
    try:
        return len(data) >= 0  # type: ignore[arg-type]
    except TypeError:  # also a DataLoader of an IterableDataset
        return False


def _checked(batch: Any, index: int) -> Pair:
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not (pair and all(map(_is_tensors, batch))):
        kinds = [type(m).__name__ for m in batch] if pair else type(batch).__name__
        raise InvalidInputError(
            f"training batch {index} is not a pair (input, label) of tensors, or of dicts of "
            f"tensors by name: it is {kinds}"
        )
    x, y = batch
    if not {*_lengths(y)} <= {*_lengths(x)} - {-1}:
        raise InvalidInputError(
            f"training batch {index} has inputs {_shapes(x)} and labels {_shapes(y)}: give "
            "one label for each input"
        )
    return x, y


def count(tensors: Tensors) -> int:
    """Return the number of entries along the first axis; of several tensors, of the first."""
    return next(iter(_lengths(tensors)), 1)


def _is_tensors(value: object) -> bool:
    """Return True for a tensor, or a dict of them, in containers or not."""
    named = isinstance(value, Mapping) and bool(value)
    return isinstance(value, Tensor) or (
        named and all(isinstance(x, Tensor) for x in flat(value).values())  # type: ignore[arg-type]
    )


def _lengths(tensors: Tensors) -> list[int]:
    """Sizes of the first axes; -1 of a tensor that has none."""
    several = flat(tensors).values() if isinstance(tensors, Mapping) else (tensors,)
    return [len(x) if x.ndim else -1 for x in several]


def _shapes(tensors: Tensors) -> str:
    if isinstance(tensors, Mapping):
        return ", ".join(f"{name} {list(x.shape)}" for name, x in flat(tensors).items())
    return str(list(tensors.shape))


def shift_and_flip(images: Tensor, generator: torch.Generator, pad: int = 2) -> Tensor:
    """Random shift by up to ``pad`` pixels and mirror: uint8 ``[N, C, H, W]`` -> the same."""
    n, _, height, width = images.shape
    padded = nn.functional.pad(images, (pad,) * 4)
    offset = torch.randint(0, 2 * pad + 1, (n, 2), generator=generator)
    flip = torch.randint(0, 2, (n, 1), generator=generator).bool()
    rows = offset[:, :1] + torch.arange(height)  # [N, H]
    cols = torch.arange(width).expand(n, width)
    cols = offset[:, 1:] + torch.where(flip, cols.flip(1), cols)  # [N, W]
    picture = torch.arange(n)[:, None, None]  # [N, 1, 1]
    picked = padded.permute(0, 2, 3, 1)[picture, rows[:, :, None], cols[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _generator(*key: int) -> torch.Generator:
    """A generator for one place in the run, so that resuming needs no generator state."""
    seed = 0
    for part in key:
        seed = (seed * 1_000_003 + part + 1) % (1 << 63)
    return torch.Generator().manual_seed(seed)
