"""Peak memory of a function in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qutils.bench import fresh
from qutils.bench.latency import normal_batch
from qutils.errors import InvalidInputError, QutilsError
from qutils.runtimes import load

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class PeakMemory:
    """Peak resident memory in MiB, and what the interpreter and the imports alone had taken."""

    mib: float
    imports_mib: float  # before the call; what the call imports itself counts as the call's

    @property
    def call_mib(self) -> float:
        """What the call added [MiB]."""
        return self.mib - self.imports_mib


def peak_of(function: str, *args: Json, timeout: float | None = None, **kwargs: Json) -> PeakMemory:
    """Peak memory of ``module:function`` called with JSON arguments in a fresh process.

    Raises:
        InvalidInputError: not written ``module:function``, or arguments that are not JSON.
        QutilsError: the function raised, or the process died or ran past ``timeout`` seconds.
    """
    module, _, name = function.partition(":")
    if not module or not name:
        raise InvalidInputError(f"{function!r} is not of the form 'module:function'")
    path = [entry or str(Path.cwd()) for entry in sys.path]
    try:
        order = json.dumps([path, module, name, args, kwargs])
    except TypeError as error:
        raise InvalidInputError(f"arguments of {function} are not JSON: {error}") from error
    command = [sys.executable, fresh.__file__]
    try:
        done = subprocess.run(command, input=order, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise QutilsError(f"{function} ran past {timeout} s in its fresh process") from error
    reports = [line for line in done.stdout.splitlines() if line.startswith(fresh.MARK)]
    if done.returncode != 0 or not reports:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise QutilsError(
            f"{function} failed in its fresh process (exit {done.returncode}): {reason}"
        )
    before, peak = json.loads(reports[-1].removeprefix(fresh.MARK))
    return PeakMemory(mib=peak, imports_mib=before)


def peak_of_inference(
    path: str | Path, runtime: str = "onnxruntime", batch: int = 1, threads: int = 1
) -> PeakMemory:
    """Peak memory of loading a model file and running one batch of ``batch`` samples.

    Raises:
        QutilsError: the runtime cannot load or run the file; the message says why.
    """
    file = str(Path(path).resolve())
    return peak_of("qutils.bench.memory:infer", file, runtime, batch, threads)


def infer(path: str, runtime: str, batch: int, threads: int) -> None:
    """Load a model file and run one batch: what ``peak_of_inference`` measures."""
    model = load(path, runtime=runtime, threads=threads)
    np.asarray(model.run(normal_batch(model, batch)))
