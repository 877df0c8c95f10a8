"""The one interface of every runtime: load a file, run a batch, say what really executes."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from qutils.errors import InvalidInputError, UnsupportedError, not_installed
from qutils.nested import flat

T = TypeVar("T")
#: One axis of an input: a size, or a name where the file leaves it open (``"n"``).
Axis = int | str | None
#: One batch: an array, or arrays by name where a file takes several.
Arrays = NDArray[Any] | Mapping[str, NDArray[Any]]
#: How quantized layers compute: in integer kernels, or in float between quantizers.
Execution = Literal["integer", "simulated"]


@dataclass(frozen=True)
class Inner:
    """One quantized activation inside a running model, ``scale (integers - zero_point)``.

    ``integers [N, C, ...]`` int32, channels in the second place whatever the runtime stores.
    """

    integers: NDArray[Any]
    scale: float
    zero_point: int


@dataclass(frozen=True)
class RuntimeOptions:
    """How a runtime computes: ``threads`` of one operator, ``exact`` integer arithmetic.

    ``exact=False`` allows kernels that saturate intermediate sums, for speed. Where a runtime has
    no exact ones for this CPU, ``exact=True`` warns of files whose weights can overflow.
    """

    threads: int = 1
    exact: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.threads, bool) or not isinstance(self.threads, int) or self.threads < 1:
            raise InvalidInputError(f"threads must be an integer >= 1, not {self.threads!r}")


class Runtime(ABC):
    """A model file made ready to run: ``Runtime.load(path).run(batch)``."""

    name: ClassVar[str]
    options: RuntimeOptions

    @classmethod
    @abstractmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load a model of one input and one output.

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: the runtime cannot run this model.
        """

    @abstractmethod
    def run(self, batch: Any) -> Any:
        """Outputs of a batch ``[N, ...]``. NaN and Inf pass through as computed.

        Arrays by name are taken of a file with several inputs, and returned of one with several
        outputs, where the runtime runs such files.

        Raises:
            InvalidInputError: wrong names, shapes or dtypes; says what was expected and given.
        """

    @abstractmethod
    def kernels(self) -> Counter[str]:
        """Operator types that really execute, after the runtime's own graph optimization."""

    def inner(self, batch: Any) -> tuple[Inner, ...] | None:
        """Quantized activations in order of execution; None if the runtime hands none out.

        Raises: as ``run``.
        """
        return None

    def spent(self, batch: Any, runs: int = 30) -> dict[str, float]:
        """Milliseconds of each kind of layer by kernel; empty if the runtime does not count them.

        Raises: as ``run``.
        """
        return {}

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the runtime's package."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[Axis, ...]:
        """Shape the file declares; open axes are names or None."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a batch; float32, unless the file says otherwise."""
        return np.dtype(np.float32)

    @property
    def execution(self) -> Execution:
        """How quantized layers compute: always in the runtime's own integer kernels."""
        return "integer"

    @property
    def threads(self) -> int:
        """Number of threads that ``run`` uses."""
        return self.options.threads


def check_batch(batch: object, shape: Sequence[Axis], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return ``batch`` if a model with this input can take it.

    Raises:
        InvalidInputError: not an array, wrong dtype, wrong shape or empty.

    >>> check_batch(np.zeros((2, 3), np.float32), ("n", 3), np.dtype("float32")).shape
    (2, 3)
    """
    expected = "[" + ", ".join(str(axis if axis is not None else "?") for axis in shape) + "]"
    if not isinstance(batch, np.ndarray):
        raise InvalidInputError(
            f"the batch is a {type(batch).__name__}; expected a numpy array {expected} of {dtype}"
        )
    if batch.dtype != dtype:
        raise InvalidInputError(
            f"the batch has dtype {batch.dtype}, the model expects {dtype}: "
            f"convert it with batch.astype('{dtype}')"
        )
    fits = batch.ndim == len(shape) and all(
        not isinstance(axis, int) or axis == size
        for axis, size in zip(shape, batch.shape, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"the batch has shape {list(batch.shape)}, the model expects {expected}"
            + _fixed_batch_hint(shape, batch.shape)
        )
    if batch.size == 0:
        raise InvalidInputError(f"the batch {list(batch.shape)} is empty: give at least one sample")
    return batch


def check_inputs(
    path: Path, batch: Arrays, inputs: Mapping[str, tuple[Sequence[Axis], np.dtype[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a batch by input name, if a file with these inputs can take them.

    Raises:
        InvalidInputError: names, shapes or dtypes do not fit; says what was expected.
    """
    if not isinstance(batch, Mapping):
        if len(inputs) > 1:
            raise InvalidInputError(
                f"{path} takes {', '.join(inputs)}, got one {type(batch).__name__}. Give a dict of "
                "arrays by name."
            )
        batch = dict.fromkeys(inputs, batch)
    else:
        batch = flat(batch)
    if batch.keys() != inputs.keys():
        raise InvalidInputError(
            f"{path} takes {', '.join(inputs)}, got {', '.join(batch)}. Give the named inputs and "
            "no others."
        )
    return {name: check_batch(batch[name], *declared) for name, declared in inputs.items()}


def only(path: Path, inputs: Mapping[str, T]) -> T:
    """Return what is known of a file's only input.

    Raises:
        UnsupportedError: the file has several inputs; names them.
    """
    if len(inputs) > 1:
        raise UnsupportedError(
            f"{path} takes {', '.join(inputs)}: one input was expected. Give a file with one "
            "input, or run this one with a dict of arrays."
        )
    return next(iter(inputs.values()))


def by_name(names: Sequence[str], outputs: Sequence[NDArray[Any]]) -> Any:
    """Return the only output, or several by name."""
    return outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True))


def _fixed_batch_hint(shape: Sequence[Axis], given: Sequence[int]) -> str:
    """The mend where only the batch axis differs."""
    if len(given) == len(shape) and list(given[1:]) == list(shape[1:]):
        return f": its batch size is fixed at {shape[0]}; split the batch, or export it open"
    return ""


def require(module: str, command: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingPackageError: it is not installed; names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise not_installed(module.partition(".")[0], command, error) from error
