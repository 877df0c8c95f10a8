"""Values of an ONNX graph while it is converted: for several batch sizes at once.

The graph is converted by executing it for every batch size of ``PROBES``. What depends on the
network's inputs is executed on tensors without contents; what does not (weights, shapes, sizes
computed from shapes) is executed for real. A size that differs between the probes depends on the
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

#: Batch sizes for which a graph is converted.
PROBES = (2, 3)


@dataclass(frozen=True)
class Batch:
    """The size ``factor * N + offset`` of a batch of N samples.

    >>> Batch.through([4, 6]), Batch.through([7, 7])
    (Batch(factor=2, offset=0), 7)
    """

    factor: int
    offset: int = 0

    @classmethod
    def through(cls, sizes: Sequence[int]) -> int | Batch:
        """Return the size that has these values at ``PROBES``: a number if they are equal."""
        if len(set(sizes)) == 1:
            return int(sizes[0])
        factor, rest = divmod(sizes[1] - sizes[0], PROBES[1] - PROBES[0])
        assert rest == 0
        return cls(int(factor), int(sizes[0] - factor * PROBES[0]))


Size = int | Batch


def spoken(shape: Sequence[Size]) -> str:
    """Return a shape in words.

    >>> spoken([Batch(1), 3, Batch(2, 1)])
    '[N, 3, 2N+1]'
    """
    return f"[{', '.join(map(_spoken, shape))}]"


def _spoken(size: Size) -> str:
    if not isinstance(size, Batch):
        return str(size)
    factor = "" if size.factor == 1 else str(size.factor)
    return f"{factor}N{size.offset:+d}" if size.offset else f"{factor}N"


@dataclass(frozen=True)
class Value:
    """A tensor of the graph at every probe; ``node`` computes it, None if no input is needed.

    ``name`` is the name in the ONNX file. The tensors of ``probes`` have no contents if there is a
    node.
    """

    name: str
    probes: tuple[Any, ...]
    node: Node | None = None

    @property
    def is_static(self) -> bool:
        """Whether the value is known without the network's inputs."""
        return self.node is None

    @property
    def is_constant(self) -> bool:
        """Whether the value is known and the same for every batch size."""
        first, *others = self.probes
        return self.is_static and all(_alike(first, other) for other in others)

    @property
    def shape(self) -> tuple[Size, ...]:
        """Sizes of the axes; those that depend on the batch are a ``Batch``."""
        axes = zip(*(probe.shape for probe in self.probes), strict=True)
        return tuple(_size(axis) for axis in axes)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return int(self.probes[0].ndim)

    @property
    def batch_axis(self) -> int | None:
        """The first axis whose size depends on the batch."""
        found = (axis for axis, size in enumerate(self.shape) if isinstance(size, Batch))
        return next(found, None)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the elements."""
        found: torch.dtype = self.probes[0].dtype
        return found

    def at(self, probe: int) -> Value:
        """Return the value at one batch size alone."""
        return Value(self.name, (self.probes[probe],), self.node)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, NaN included."""
    if one is other:
        return True
    if one.shape != other.shape or not one.dtype.is_floating_point:
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _size(sizes: Sequence[int]) -> Size:
    return int(sizes[0]) if len(sizes) == 1 else Batch.through(sizes)


def static(name: str, tensor: Tensor) -> Value:
    """Return the value of a stored tensor."""
    return Value(name, (tensor,) * len(PROBES))
