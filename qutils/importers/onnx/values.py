"""Values of an ONNX graph while it is converted: for several sizes of its open axes at once.

The graph is converted by executing it for two sizes of the batch, and for two of every other open
axis (``probes``). What depends on the network's inputs is executed on tensors without contents;
what does not (weights, shapes, sizes computed from shapes) is executed for real. A size that
differs between the probes depends on an open axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from qutils.graph.inputs import BATCH

#: Two sizes of each open axis, by name.
Pairs = Mapping[str, tuple[int, int]]
_BATCHES: Pairs = {BATCH: (2, 3)}
_PAIRS: ContextVar[Pairs] = ContextVar("pairs", default=_BATCHES)


@contextmanager
def probing(open_axes: Pairs) -> Iterator[None]:
    """Convert for two sizes of these axes each, besides two of the batch."""
    token = _PAIRS.set({**_BATCHES, **open_axes})
    try:
        yield
    finally:
        _PAIRS.reset(token)


def probes() -> list[dict[str, int]]:
    """Return the sizes of the open axes for which a graph is converted.

    >>> probes()
    [{'N': 2}, {'N': 3}]
    """
    names = list(_PAIRS.get())
    return [
        dict(zip(names, sizes, strict=True)) for sizes in itertools.product(*_PAIRS.get().values())
    ]


@dataclass(frozen=True)
class Batch:
    """The size ``factor * N + offset`` of a batch of N samples, plus products of open axes.

    ``others`` are these products with their factors: ``((("height", "width"), 1/4),)``.

    >>> Batch.through([4, 6]), Batch.through([7, 7])
    (Batch(factor=2, offset=0, others=()), 7)
    >>> with probing({"length": (8, 16)}):
    ...     Batch.through([16, 32, 24, 48]), Batch.through([4, 8, 4, 8]).others
    (Batch(factor=0, offset=0, others=((('N', 'length'), Fraction(1, 1)),)),
     ((('length',), Fraction(1, 2)),))
    """

    factor: int
    offset: int = 0
    others: tuple[tuple[tuple[str, ...], Fraction], ...] = ()

    @classmethod
    def through(cls, sizes: Sequence[int]) -> int | Batch:
        """Return the size that has these values at ``probes()``: a number if they are equal.

        It is multilinear in the open axes: exact where each size is a product, a multiple or, if
        the probes divide by it, a fraction of them.
        """
        if len(set(sizes)) == 1:
            return int(sizes[0])
        terms = _terms(sizes)
        whole = {names: int(c) for names, c in terms.items() if c.denominator == 1}
        factor, offset = whole.get((BATCH,), 0), whole.get((), 0)
        others = tuple(
            (names, c)
            for names, c in terms.items()
            if c and not (names in ((), (BATCH,)) and c.denominator == 1)
        )
        return cls(factor, offset, others)

    @property
    def names(self) -> frozenset[str]:
        """The open axes that it depends on."""
        found = {name for names, _ in self.others for name in names}
        return frozenset(found | ({BATCH} if self.factor else set()))

    def at(self, sizes: Mapping[str, Any]) -> Any:
        """Return the size where the open axes have these sizes."""
        size = self.factor * sizes[BATCH] + self.offset if self.factor else self.offset
        if not self.others:
            return size
        common = math.lcm(*(c.denominator for _, c in self.others))
        total = 0
        for names, c in self.others:
            product: Any = int(c * common)
            for name in names:
                product = product * sizes[name]
            total = total + product
        return size + (total if common == 1 else total // common)


def _terms(sizes: Sequence[int]) -> dict[tuple[str, ...], Fraction]:
    """Coefficients of the multilinear polynomial through these values at ``probes()``."""
    pairs = _PAIRS.get()
    values = {key: Fraction(size) for key, size in zip(_corners(len(pairs)), sizes, strict=True)}
    # Along one axis after the other: (value at low, at high) -> (constant, factor).
    for place, (low, high) in enumerate(pairs.values()):
        for key in [k for k in values if not k[place]]:
            other = (*key[:place], 1, *key[place + 1 :])
            slope = (values[other] - values[key]) / (high - low)
            values[key], values[other] = values[key] - slope * low, slope
    names = list(pairs)
    return {
        tuple(name for name, used in zip(names, key, strict=True) if used): c
        for key, c in values.items()
    }


def _corners(axes: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=axes))


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
    if size.others:
        parts = [f"{c}*{'*'.join(names)}" if names else str(c) for names, c in size.others]
        parts += [f"{size.factor}*N"] * bool(size.factor) + [str(size.offset)] * bool(size.offset)
        return "+".join(parts).replace("1*", "")
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
        """Whether the value is known and the same for every size of the open axes."""
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
        sizes = enumerate(self.shape)
        found = (axis for axis, s in sizes if isinstance(s, Batch) and BATCH in s.names)
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
    return Value(name, (tensor,) * len(probes()))
