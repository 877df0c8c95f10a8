"""ExecuTorch with the XNNPACK backend: ``.pte`` files, as phones run them.

A file computes one sample; ``run`` takes any number and computes them one by one. XNNPACK's integer
kernels sum in 32 bits on every CPU, so that ``exact`` changes nothing.

The process has one pool of threads, and a loaded method keeps a pointer to the pool that it found.
Another number of threads therefore means another pool, and loading again: methods that take turns
with different ``threads`` pay for it. Nothing else in the process should reset ExecuTorch's pool.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Method
from executorch.runtime import Runtime as ExecuTorchRuntime
from numpy.typing import NDArray

from qutils.errors import DataError, UnsupportedError
from qutils.runtimes.base import Axis, Runtime, RuntimeOptions, check_batch
from qutils.runtimes.pte import executed, is_whole

_METHOD = "forward"
#: ``ScalarType`` of ExecuTorch, by number.
_DTYPES = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 6: "float32", 7: "float64"}


class _Pool:
    """The process's pool of threads: how many, and the how manieth it is."""

    threads = 0
    turn = 0

    @classmethod
    def claim(cls, threads: int) -> int:
        """Make the pool one of ``threads``; methods of earlier turns must not run any more."""
        if cls.threads != threads:
            with _told():
                portable_lib._unsafe_reset_threadpool(threads)
            cls.threads = threads
            cls.turn += 1
        return cls.turn


class ExecuTorch(Runtime):
    """ExecuTorch's Python runtime; what XNNPACK does not take runs in its portable kernels."""

    name: ClassVar[str] = "executorch"

    def __init__(self, path: Path, options: RuntimeOptions, program: bytes) -> None:
        self.path = path
        self.options = options
        self._program = program
        self._turn = _Pool.claim(options.threads)
        self._method = _load(path, program)
        meta = self._method.metadata
        if (meta.num_inputs(), meta.num_outputs()) != (1, 1):
            raise UnsupportedError(
                f"{path} has {meta.num_inputs()} inputs and {meta.num_outputs()} outputs; "
                "one of each is supported"
            )
        given = meta.input_tensor_meta(0)
        self._shape = tuple(int(size) for size in given.sizes())
        if given.dtype() not in _DTYPES:
            raise UnsupportedError(
                f"{path} takes numbers of ExecuTorch's type {given.dtype()}; "
                f"supported are {', '.join(_DTYPES.values())}"
            )
        self._dtype = np.dtype(_DTYPES[given.dtype()])

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load a ``.pte`` file of one input and one output; ``exact`` has no effect.

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: an operator, backend or interface that this runtime cannot run.
        """
        options = RuntimeOptions(threads, exact)
        return cls(Path(path), options, _read(Path(path)))

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Logits of a batch: ``[N, ...] -> [N, classes]``. Infinities count as largest values.

        Raises:
            InvalidInputError: wrong shape or dtype; names expected and given.
        """
        checked = check_batch(batch, self.input_shape, self._dtype)
        turn = _Pool.claim(self.threads)
        if turn != self._turn:
            self._method, self._turn = _load(self.path, self._program), turn
        inputs = torch.from_numpy(np.require(checked, requirements=["C", "W"]))
        outputs = [self._method.execute([part])[0] for part in torch.split(inputs, self._shape[0])]
        logits: NDArray[Any] = torch.cat(outputs).numpy()
        return logits

    def kernels(self) -> Counter[str]:
        """XNNPACK's nodes by what they take, ``Conv2d qint8``, and operators outside of it."""
        return Counter(executed(self._program))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a batch, as the file declares it."""
        return self._dtype

    @property
    def version(self) -> str:
        """Version of the executorch package."""
        return importlib.metadata.version("executorch")

    @property
    def input_shape(self) -> tuple[Axis, ...]:
        """Shape of a batch: open where the file computes one sample."""
        first, *sizes = self._shape
        return (None if first == 1 else first, *sizes)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path} is missing. Export the model first, or correct the path.")
    program = path.read_bytes()
    if not is_whole(program):
        raise DataError(
            f"{path} is corrupt or truncated ({len(program):,} bytes): it is not a whole "
            "ExecuTorch program. Export it again."
        )
    return program


def _load(path: Path, program: bytes) -> Method:
    """A method ready to run; failures become one of our errors, with what ExecuTorch printed."""
    with _told() as lines:
        try:
            method = ExecuTorchRuntime.get().load_program(program).load_method(_METHOD)
        except (RuntimeError, KeyError) as error:
            raise UnsupportedError(
                f"ExecuTorch {importlib.metadata.version('executorch')} cannot run {path}: "
                f"{(lines() or [str(error)])[-1]}"
            ) from error
    assert method is not None
    return method


@contextlib.contextmanager
def _told() -> Iterator[Any]:
    """Keep what C++ writes to stderr off the terminal; yields a function that reads its lines.

    In a notebook it writes to Python's ``sys.stderr``, which is not the process's there.
    """
    sys.stderr.flush()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as file,
        contextlib.redirect_stderr(file),
    ):
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)

        def lines() -> list[str]:
            file.flush()
            file.seek(0)
            return [line.strip() for line in file.read().splitlines() if line.strip()]

        try:
            yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
