"""One input of a network: its name, its axes, its type, and what its integers index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.errors import InvalidInputError

#: Name of the input of a network that takes one tensor.
INPUT = "input"
#: Name of the batch axis.
BATCH = "N"


@dataclass(frozen=True)
class OpenAxis:
    """An axis whose size the data gives: its name, the size it was traced with, the largest.

    ``most`` is the largest size that the network takes, as its position embeddings allow; None if
    it takes any.
    """

    name: str
    size: int
    most: int | None = None


@dataclass(frozen=True)
class Table:
    """The embedding that an input indexes: values are ``0 .. rows - 1``."""

    layer: str
    rows: int


@dataclass(frozen=True)
class TensorSpec:
    """One input of a network: a tensor of ``dtype`` with the axes ``axes``.

    ``shape`` is that of one sample: sizes, and names where an axis is open. The batch is on
    ``batch_axis``; None if the input has none, as a sample rate. ``table`` is what integers index.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype = torch.float32
    batch_axis: int | None = 0
    table: Table | None = None

    @property
    def axes(self) -> tuple[int | str, ...]:
        """The shape with ``"N"`` where the batch is.

        >>> TensorSpec("state", (2, 64), batch_axis=1).axes
        (2, 'N', 64)
        """
        if self.batch_axis is None:
            return self.shape
        return (*self.shape[: self.batch_axis], BATCH, *self.shape[self.batch_axis :])

    def __str__(self) -> str:
        return f"{self.name} [{_joined(self.axes)}] {_plain(self.dtype)}"

    def check(self, x: object) -> None:
        """Raise InvalidInputError unless ``x`` is a tensor of this shape, type and range."""
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"the model takes a torch tensor, got {type(x).__name__}: torch.from_numpy(x)"
            )
        self._check_shape(x)
        if self.dtype.is_floating_point:
            check_dtype(x)
        elif x.dtype != self.dtype:
            raise InvalidInputError(
                f"Expected {self}, got {x.dtype}. Convert it: "
                f"{self.name}.to(torch.{_plain(self.dtype)})."
            )
        if self.table is not None and x.numel():
            self._check_values(x, self.table)

    def _check_shape(self, x: Tensor) -> None:
        axes = self.axes
        alike = x.ndim == len(axes)
        differ = [
            i for i in range(x.ndim) if alike and isinstance(axes[i], int) and axes[i] != x.shape[i]
        ]
        if alike and not differ:
            return
        named = "" if self.name == INPUT else f" for {self.name!r}"
        hint = ""
        if differ:
            opened = f"dynamic={{{self.name!r}: {{{differ[0]}: 'length'}}}}"
            hint = f". To take several sizes, calibrate with {opened}"
        raise InvalidInputError(
            f"the model takes input of shape [{_joined(axes)}]{named}, got {list(x.shape)}{hint}"
        )

    def _check_values(self, x: Tensor, table: Table) -> None:
        low, high = (int(end) for end in x.aminmax())
        if low < 0 or high >= table.rows:
            raise InvalidInputError(
                f"Expected {self.name} from 0 to {table.rows - 1}, as {table.layer} has "
                f"{table.rows} rows, got {low if low < 0 else high}. Use the vocabulary that the "
                "model was trained with."
            )

    def example(self, samples: int, sizes: Mapping[str, int]) -> Tensor:
        """Return zeros for so many samples, with these sizes of the open axes."""
        known = {BATCH: samples, **sizes}
        shape = [known[axis] if isinstance(axis, str) else axis for axis in self.axes]
        return torch.zeros(shape, dtype=self.dtype)


def check_dtype(x: Tensor) -> None:
    """Raise InvalidInputError unless ``x`` is float32."""
    if not x.dtype.is_floating_point:
        raise InvalidInputError(
            f"the model takes float input, got {x.dtype}: normalize the pictures"
        )
    if x.dtype != torch.float32:
        raise InvalidInputError(f"the model takes float32 input, got {x.dtype}: call .float()")


def _joined(axes: Iterable[int | str]) -> str:
    return ", ".join(map(str, axes))


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
