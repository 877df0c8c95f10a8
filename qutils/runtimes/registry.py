"""The list of runtimes; each is imported only when it is asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from qutils.errors import InvalidInputError
from qutils.runtimes.base import Runtime, require


@dataclass(frozen=True)
class RuntimeEntry:
    """Where a runtime lives and what it needs."""

    name: str
    module: str
    attribute: str
    package: str
    install: str  # command

    def get(self) -> type[Runtime]:
        """The runtime's class.

        Raises:
            MissingPackageError: its package is not installed; names the command.
        """
        require(self.package, self.install)
        runtime: type[Runtime] = getattr(require(self.module, self.install), self.attribute)
        return runtime


_ENTRIES = (
    RuntimeEntry(
        name="onnxruntime",
        module="qutils.runtimes.onnxruntime",
        attribute="OnnxRuntime",
        package="onnxruntime",
        install="pip install onnxruntime onnx",
    ),
)

#: Every runtime by name; CLI choices and test parametrization read it.
RUNTIMES = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def load(
    path: str | Path, runtime: str = "onnxruntime", threads: int = 1, exact: bool = True
) -> Runtime:
    """Load a model file into a runtime by name.

    Raises:
        InvalidInputError: no such runtime; suggests the closest name.
        MissingPackageError: the runtime's package is not installed.
        DataError: the file is missing, truncated or corrupt.
        UnsupportedError: the runtime cannot run this model.
    """
    if runtime not in RUNTIMES:
        close = difflib.get_close_matches(runtime, RUNTIMES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(RUNTIMES)}"
        raise InvalidInputError(f"unknown runtime {runtime!r}: {hint}")
    return RUNTIMES[runtime].get().load(path, threads=threads, exact=exact)
