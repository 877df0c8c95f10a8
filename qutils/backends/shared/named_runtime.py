"""What runtimes of files with named inputs and outputs share: inputs checked, outputs by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qutils.backends.shared.limits import Limits
from qutils.backends.shared.runtime import Arrays, Axis, Runtime, by_name, check_inputs, only
from qutils.errors import InvalidInputError, QutilsError
from qutils.reading import cause

#: Axes of an input, open ones as names or None, and its type.
Declared = tuple[Sequence[Axis], np.dtype[Any]]


class NamedRuntime(Runtime):
    """A runtime whose files name their inputs and outputs.

    Subclasses say what the file declares and compute a batch that fits it.
    """

    path: Path
    limits: Limits = Limits()

    @property
    @abstractmethod
    def declared(self) -> Mapping[str, Declared]:
        """Axes and type of each input, by name, in order."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""

    @abstractmethod
    def computed(self, fed: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return the outputs, in order, of checked inputs.

        Raises:
            InvalidInputError: sizes or values that the network refuses.
        """

    def run(self, batch: Arrays) -> Any:
        """Return the outputs of a batch. NaN and Inf pass through as the runtime computes them.

        Args:
            batch: an array ``[N, ...]``; of a file with several inputs, arrays by name.

        Returns:
            an array ``[N, ...]``; of a file with several outputs, arrays by name.

        Raises:
            InvalidInputError: wrong names, shapes or dtypes; says what was expected and given. Or
                sizes and values that the network refuses, with the limit where it is known.
        """
        fed = self.fed(batch)
        try:
            return by_name(self.outputs, self.computed(fed))
        except QutilsError:
            raise
        except Exception as error:  # whatever a runtime raises
            raise refused(self.path, fed, cause(error)) from error

    def fed(self, batch: Arrays) -> dict[str, NDArray[Any]]:
        """Return the arrays of a batch by input name, in order, if the file can take them.

        Raises: as ``run``.
        """
        found = check_inputs(self.path, batch, self.declared)
        self.limits.check(self.path, found)
        return found

    @property
    def inputs(self) -> dict[str, tuple[Axis, ...]]:
        """Shapes of all inputs, by name; open axes are names or None."""
        return {name: tuple(axes) for name, (axes, _) in self.declared.items()}

    @property
    def input_shape(self) -> tuple[Axis, ...]:
        """Shape that the file declares of its only input; open axes are names or None."""
        return tuple(only(self.path, self.declared)[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the only input, as the file declares it."""
        return only(self.path, self.declared)[1]


def refused(path: Path, fed: Mapping[str, NDArray[Any]], reason: str) -> InvalidInputError:
    """Return the error for inputs that fit the file and that its network cannot compute."""
    shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in fed.items())
    return InvalidInputError(
        f"{path} cannot run {shapes}: {reason}. Give values and sizes that the network was built "
        "for."
    )


def require_alike(samples: Mapping[str, int]) -> None:
    """Raise InvalidInputError unless all inputs hold as many samples."""
    if len(set(samples.values())) > 1:
        sizes = ", ".join(f"{name} {count}" for name, count in samples.items())
        raise InvalidInputError(
            f"Inputs of one batch hold different numbers of samples: {sizes}. Give as many of each."
        )
