"""Fashion-MNIST with disjoint train, calibration, validation and test splits; DATASETS."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qutils.errors import DataError, InvalidInputError, unknown_name
from qutils.files import data_dir, intact
from qutils.reading import reading

#: Bytes of the largest IDX file: 60,000 images of 28x28 are 47 MB.
_MOST_IDX = 1 << 30
#: Mean and standard deviation of the training pictures scaled to [0, 1].
MEAN, STD = 0.2860, 0.3530
FASHION_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
#: The 60,000 training pictures are cut, in a fixed shuffled order, into these.
CUTS = {"train": 52_000, "calibration": 5_000, "validation": 3_000}


@dataclass(frozen=True)
class Split:
    """Pictures with labels; iterating yields normalized batches ``(x [B, 1, H, W], y [B])``."""

    name: str
    images: Tensor  # uint8 [N, 1, H, W]
    labels: Tensor  # int64 [N]
    batch_size: int = 128

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), self.batch_size):
            stop = start + self.batch_size
            yield normalize(self.images[start:stop]), self.labels[start:stop]

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels to network input; see ``normalize``."""
        return normalize(images)

    def take(self, count: int) -> Split:
        """The first ``count`` pictures (the order is shuffled once and for all).

        Raises:
            InvalidInputError: ``count`` is not in 1..len(self).
        """
        if not 1 <= count <= len(self):
            raise InvalidInputError(
                f"asked for {count} pictures of split {self.name!r}; it holds 1..{len(self)}"
            )
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    def batches(self, size: int) -> Split:
        """The same pictures, served ``size`` at a time."""
        if size < 1:
            raise InvalidInputError(f"batch size must be at least 1, got {size}")
        return replace(self, batch_size=size)


@dataclass(frozen=True)
class Dataset:
    """Four disjoint splits, each with its one use.

    Fit on ``train``, take ranges from ``calibration``, choose on ``validation``, report on
    ``test`` alone.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    calibration: Split
    validation: Split
    test: Split


def normalize(images: Tensor) -> Tensor:
    """Pixels to network input: ``(x / 255 - mean) / std``; uint8 -> float32, same shape.

    >>> normalize(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)).shape
    torch.Size([1, 1, 28, 28])
    """
    return (images.float() / 255 - MEAN) / STD


def _read_idx(path: Path) -> Tensor:
    """Array of a gzipped IDX file (magic 0x08 = uint8). Source: LeCun's MNIST format note."""
    fix = f"Restore it with: git checkout -- {path}"
    with reading(path, fix), gzip.open(intact(path)) as file:
        raw = file.read(_MOST_IDX + 1)
        if len(raw) > _MOST_IDX:
            raise DataError(f"{path} unpacks to more than {_MOST_IDX:,} bytes. {fix}.")
        if raw[:3] != b"\x00\x00\x08":
            raise DataError(f"{path} is not an IDX file of bytes (magic {raw[:4].hex()})")
        shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
        array = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(tuple(shape))
        return torch.from_numpy(array.copy())


@lru_cache(maxsize=2)
def _fashion_mnist(folder: Path) -> Dataset:
    def load(stem: str) -> tuple[Tensor, Tensor]:
        pixels = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
        labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
        return pixels.unsqueeze(1), labels.long()

    images, labels = load("train")
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    parts, start = {}, 0
    for name, count in CUTS.items():
        index = order[start : start + count]
        parts[name] = Split(name, images[index], labels[index])
        start += count
    test = Split("test", *load("t10k"))
    return Dataset("fashion_mnist", FASHION_CLASSES, test=test, **parts)


def fashion_mnist() -> Dataset:
    """Fashion-MNIST from ``data/fashion_mnist``, checksums verified.

    Raises:
        DataError: a file is missing, truncated or changed.
    Source: Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747 (MIT licence).
    """
    return _fashion_mnist(data_folder("fashion_mnist"))


def data_folder(name: str) -> Path:
    """Folder of a registered dataset's files and their ``SHA256SUMS``."""
    return data_dir() / name


DATASETS: dict[str, Callable[[], Dataset]] = {"fashion_mnist": fashion_mnist}


def dataset(name: str) -> Dataset:
    """Load a registered dataset by name.

    Raises:
        InvalidInputError: unknown name; suggests the closest registered one.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name]()
