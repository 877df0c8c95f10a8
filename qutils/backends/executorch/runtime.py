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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Method
from executorch.runtime import Runtime as ExecuTorchRuntime
from numpy.typing import NDArray

from qutils.backends.executorch.exporter import NAMES
from qutils.backends.executorch.pte import executed, is_whole
from qutils.backends.shared.named_runtime import Declared, NamedRuntime, require_alike
from qutils.backends.shared.runtime import Axis, RuntimeOptions
from qutils.errors import DataError, UnsupportedError
from qutils.isolated import check_survives
from qutils.reading import reading

_METHOD = "forward"
#: Runs a file once on ones: what ExecuTorch verifies leaves out the data of its delegates.
_TRIAL = """
import sys
import torch
from executorch.extension.pybindings.portable_lib import _load_for_executorch
module = _load_for_executorch(sys.argv[1])
meta = module.method_meta("forward")
dtypes = {0: torch.uint8, 1: torch.int8, 3: torch.int32, 4: torch.int64, 7: torch.float64}
given = [meta.input_tensor_meta(i) for i in range(meta.num_inputs())]
fed = [torch.zeros(tuple(x.sizes()), dtype=dtypes.get(x.dtype(), torch.float32)) for x in given]
module.run_method("forward", fed)
"""
#: Decodes the graphs of its delegates.
_TRIAL_OF_KERNELS = """
import sys
from pathlib import Path
from qutils.backends.executorch.pte import executed
list(executed(Path(sys.argv[1]).read_bytes()))
"""
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


class ExecuTorch(NamedRuntime):
    """ExecuTorch's Python runtime; what XNNPACK does not take runs in its portable kernels."""

    name: ClassVar[str] = "executorch"

    def __init__(self, path: Path, options: RuntimeOptions, program: bytes) -> None:
        self.path = path
        self.options = options
        self._program = program
        self._turn = _Pool.claim(options.threads)
        self._method = _load(path, program)
        meta = self._method.metadata
        names, self._outputs = _names(program, meta.num_inputs(), meta.num_outputs())
        given = [meta.input_tensor_meta(i) for i in range(len(names))]
        for one in given:
            if one.dtype() not in _DTYPES:
                raise UnsupportedError(
                    f"{path} takes numbers of ExecuTorch's type {one.dtype()}; "
                    f"supported are {', '.join(_DTYPES.values())}"
                )
        self._inputs = {
            name: (tuple(map(int, one.sizes())), np.dtype(_DTYPES[one.dtype()]))
            for name, one in zip(names, given, strict=True)
        }

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load a ``.pte`` file; ``exact`` has no effect.

        Several inputs and outputs have the names that ``qutils.export`` stored in the file, or
        ``input_0``, ``output_0`` and so on in files of others.

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: an operator, backend or interface that this runtime cannot run.
        """
        options = RuntimeOptions(threads, exact)
        program = _read(Path(path))
        check_survives(Path(path), _TRIAL)
        return cls(Path(path), options, program)

    def computed(self, fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in order, of checked inputs. Infinities count as largest values."""
        turn = _Pool.claim(self.threads)
        if turn != self._turn:
            self._method, self._turn = _load(self.path, self._program), turn
        columns = [
            torch.split(torch.from_numpy(np.require(x, requirements=["C", "W"])), shape[0])
            for x, (shape, _) in zip(fed.values(), self._inputs.values(), strict=True)
        ]
        require_alike(dict(zip(fed, map(len, columns), strict=True)))
        rows = [self._method.execute([*part]) for part in zip(*columns, strict=True)]
        return [torch.cat(parts).numpy() for parts in zip(*rows, strict=True)]

    def kernels(self) -> Counter[str]:
        """XNNPACK's nodes by what they take, ``Conv2d qint8``, and operators outside of it."""
        check_survives(self.path, _TRIAL_OF_KERNELS)
        with reading(self.path, "Export it again"):
            return Counter(executed(self._program))

    @property
    def version(self) -> str:
        """Version of the executorch package."""
        return importlib.metadata.version("executorch")

    @property
    def declared(self) -> Mapping[str, Declared]:
        """Axes and type of each input, by name, in order; open where a file computes one sample."""
        return {name: (_open(shape), dtype) for name, (shape, dtype) in self._inputs.items()}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self._outputs


def _open(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Shape of a batch: open where the file computes one sample."""
    first, *sizes = shape
    return (None if first == 1 else first, *sizes)


def _names(program: bytes, inputs: int, outputs: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs and outputs, as the file says, or numbered."""
    if inputs == outputs == 1:
        return ("input",), ("output",)
    with _told():
        loaded = ExecuTorchRuntime.get().load_program(program)
        stored = loaded.load_method(NAMES) if NAMES in loaded.method_names else None
        text = bytes(stored.execute([])[0].tolist()).decode() if stored is not None else ";"
    found = [tuple(names.split(",")) for names in text.split(";")]
    if [*map(len, found)] == [inputs, outputs]:
        return found[0], found[1]
    return (
        tuple(f"input_{i}" for i in range(inputs)),
        tuple(f"output_{i}" for i in range(outputs)),
    )


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
