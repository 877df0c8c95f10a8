"""Peak memory of a function in a fresh process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qutils.backends.runtimes import load
from qutils.evaluate.bench.latency import normal_batch
from qutils.evaluate.bench.process import Json, call_fresh


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
    outcome = call_fresh(function, *args, timeout=timeout, environment=None, **kwargs)
    return PeakMemory(mib=outcome.peak_mib, imports_mib=outcome.imports_mib)


def peak_of_inference(
    path: str | Path, runtime: str | None = None, batch: int = 1, threads: int = 1
) -> PeakMemory:
    """Peak memory of loading a model file and running one batch of ``batch`` samples.

    Raises:
        QutilsError: the runtime cannot load or run the file; the message says why.
    """
    file = str(Path(path).resolve())
    return peak_of("qutils.evaluate.bench.memory:infer", file, runtime, batch, threads)


def infer(path: str, runtime: str | None, batch: int, threads: int) -> None:
    """Load a model file and run one batch: what ``peak_of_inference`` measures."""
    model = load(path, runtime=runtime, threads=threads)
    np.asarray(model.run(normal_batch(model, batch)))
