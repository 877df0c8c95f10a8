"""Write a file for a runtime, then run it: what departs from the simulation is reported."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from qutils.backends import runtimes
from qutils.backends.export import export as write
from qutils.errors import InvalidInputError, MissingPackageError, UnsupportedError
from qutils.evaluate.analysis.verify import Verification, verify
from qutils.quantize.simulate import SimulatedModel


@dataclass(frozen=True)
class Delivery:
    """What running a written file showed.

    ``verification`` is None if the file was not run, for the reason ``not_run``; ``kernels`` counts
    the operators that execute.
    """

    path: Path
    verification: Verification | None = None
    kernels: Counter[str] | None = None
    not_run: str = ""

    @property
    def warning(self) -> str:
        """Say how the file departs, or why it was not run; empty if it computes what it should."""
        if self.verification is None:
            return f"{self.path} was written and not verified: {self.not_run}"
        if self.verification.passed:
            return ""
        return f"{self.path} departs from the simulation. {self.verification}"

    def __str__(self) -> str:
        if self.verification is None or self.kernels is None:
            return self.warning
        executed = ", ".join(f"{count} {op}" for op, count in self.kernels.most_common())
        return f"{self.path}: {self.verification} It executes {executed}."


def export(
    sim: SimulatedModel, path: str | Path, target: str | None = None, *, verify: bool = True
) -> Path:
    """Write a simulated model for a runtime, run the file and compare; returns the path written.

    The file computes what was simulated in any runtime whose kernels sum exactly.
    ``runtimes.load(path)`` sees to that; a plain ONNX Runtime session on an x86 CPU without VNNI
    needs ``session.x64quantprecision`` (see ``qutils.backends.onnxruntime.runtime``).

    After writing, the runtime runs the calibration samples that the model keeps. A warning names
    the first diverging layer of a file that departs, or says why the file was not run.
    ``qutils.evaluate.analysis.examine(sim, path)`` returns the figures.

    Args:
        target: the runtime; default is the one the model was placed for.
        verify: run the file.

    Raises:
        InvalidInputError: unknown target, a file of another target's ending, or not a simulated
            model.
        UnsupportedError: the model was placed for another target, or the target has no integer
            kernel for the recipe.
    """
    written = write(sim, path, target)
    if verify and (departs := examine(sim, written).warning):
        warnings.warn(departs, stacklevel=2)
    return written


def examine(sim: SimulatedModel, path: str | Path) -> Delivery:
    """Run a written file on the calibration samples that ``sim`` keeps, beside the simulation.

    Raises:
        DataError: the file is missing, truncated or corrupt.
    """
    path, name = Path(path), sim.target.name
    if sim.samples is None:
        return Delivery(
            path,
            not_run="a simulated model that was opened from a file keeps no calibration samples. "
            "Compare it on samples x: q.analysis.verify(sim, q.runtimes.load(path), x).",
        )
    try:
        runtime = runtimes.load(path, name)
    except (MissingPackageError, UnsupportedError) as error:  # here, or on this machine
        return Delivery(path, not_run=f"{error}")
    try:
        return Delivery(path, verify(sim, runtime, sim.samples, name), runtime.kernels())
    except (InvalidInputError, UnsupportedError) as error:  # it stops, or gives other shapes
        return Delivery(path, not_run=f"{error}")
