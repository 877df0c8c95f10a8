"""Pictures to calibrate with, good and bad ones; SOURCES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from qutils.errors import InvalidInputError
from qutils.zoo import Split


@dataclass(frozen=True)
class Source:
    """One way to come by calibration pictures: the same ones for the same seed."""

    name: str
    about: str
    draw: Callable[[Split, int, Generator], Tensor]  # uint8 [count, C, H, W]

    def pictures(self, split: Split, count: int, seed: int = 0) -> Tensor:
        """``count`` pictures as the network takes them, ``[count, C, H, W]`` float32.

        Raises:
            InvalidInputError: fewer than one, or more than the split has of them.
        """
        if not 1 <= count <= len(split):
            raise InvalidInputError(
                f"asked for {count} pictures of split {split.name!r}; it holds 1..{len(split)}"
            )
        return split.prepare(self.draw(split, count, Generator().manual_seed(seed)))


def _some(split: Split, count: int, generator: Generator) -> Tensor:
    """Indices ``[count]`` of a random choice, none twice."""
    return torch.randperm(len(split), generator=generator)[:count]


def _random(split: Split, count: int, generator: Generator) -> Tensor:
    return split.images[_some(split, count, generator)]


def _sorted(split: Split, count: int, generator: Generator) -> Tensor:
    chosen = _some(split, count, generator)
    return split.images[chosen[split.labels[chosen].argsort(stable=True)]]


def _one_class(split: Split, count: int, generator: Generator) -> Tensor:
    """All of one class, which the seed draws."""
    order = _some(split, len(split), generator)
    label = int(split.labels[order[0]])
    members = order[split.labels[order] == label]
    if len(members) < count:
        raise InvalidInputError(
            f"split {split.name!r} has {len(members)} pictures of class {label}, not {count}"
        )
    return split.images[members[:count]]


def _shuffled(split: Split, count: int, generator: Generator) -> Tensor:
    images = _random(split, count, generator)
    flat = images.flatten()
    return flat[torch.randperm(len(flat), generator=generator)].reshape(images.shape)


def _noise(split: Split, count: int, generator: Generator) -> Tensor:
    shape = (count, *split.images.shape[1:])
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _black(split: Split, count: int, generator: Generator) -> Tensor:
    return torch.zeros(count, *split.images.shape[1:], dtype=torch.uint8)


_ALL = (
    Source("random", "real pictures, drawn at random", _random),
    Source("sorted", "the same pictures, sorted by class", _sorted),
    Source("one_class", "real pictures of a single class", _one_class),
    Source("shuffled", "the pixels of real pictures, in random order", _shuffled),
    Source("noise", "every pixel of any brightness, at random", _noise),
    Source("black", "every pixel black", _black),
)
#: Every source by name, from good to bad.
SOURCES: MappingProxyType[str, Source] = MappingProxyType({s.name: s for s in _ALL})
