"""Runtimes: load the file of any backend, run a batch, say what really executes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qutils.backends import BACKENDS, Backend, readers_of
from qutils.backends.shared.runtime import Runtime, RuntimeOptions
from qutils.errors import InvalidInputError, unknown_name
from qutils.reading import reading

#: Every runtime by name, each the record of its backend.
RUNTIMES: Mapping[str, Backend] = BACKENDS
#: What reads a file whose ending is nobody's.
_USUAL = "onnxruntime"


def check_ending(path: str | Path, runtime: str) -> None:
    """Raise InvalidInputError for a file whose ending is that of other runtimes' files."""
    others = readers_of(path)
    if others and runtime not in others:
        raise InvalidInputError(
            f"{path} is a file for {' or '.join(others)}, not for {runtime}: "
            f"runtimes.load(path, {others[0]!r})"
        )


def load(
    path: str | Path, runtime: str | None = None, threads: int = 1, exact: bool = True
) -> Runtime:
    """Load a model file into a runtime.

    Args:
        runtime: its name; unless given, the first that reads files of this ending, as
            ``RUNTIMES`` lists them: ONNX Runtime for ``.onnx``.

    Raises:
        InvalidInputError: no such runtime, which suggests the closest name, or a file for another.
        MissingPackageError: the runtime's package is not installed.
        DataError: the file is missing, truncated or corrupt.
        UnsupportedError: the runtime cannot run this model, or not on this machine.
    """
    name = runtime or next(iter(readers_of(path)), _USUAL)
    if name not in RUNTIMES:
        raise unknown_name("runtime", name, RUNTIMES)
    check_ending(path, name)
    runtime_class = RUNTIMES[name].get()
    if not Path(path).is_file():  # each says what makes its files
        return runtime_class.load(path, threads=threads, exact=exact)
    with reading(Path(path), "Export it again"):
        return runtime_class.load(path, threads=threads, exact=exact)


__all__ = ["RUNTIMES", "Runtime", "RuntimeOptions", "load"]
