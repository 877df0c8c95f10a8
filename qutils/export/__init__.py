"""Exporters, one file a format; EXPORTERS maps a target to the one that writes for it.

The package is callable: ``qutils.export(sim, path)`` is ``qutils.export.export(sim, path)``,
whichever was imported first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from qutils.errors import UnsupportedError
from qutils.export.onnx import export_float, export_onnx
from qutils.simulate import SimulatedModel

EXPORTERS: dict[str, Callable[[SimulatedModel, Path], Path]] = {"onnxruntime": export_onnx}


def export(sim: SimulatedModel, path: str | Path, target: str | None = None) -> Path:
    """Write a simulated model for a runtime; returns the path written.

    Args:
        target: the runtime; default is the one the model was placed for.

    Raises:
        UnsupportedError: the model was placed for another target, or the target has no integer
            kernel for the recipe.
    """
    name = target or sim.target.name
    if name != sim.target.name:
        raise UnsupportedError(
            f"this model was calibrated for {sim.target.name}; "
            f"calibrate(..., target={name!r}) first"
        )
    return EXPORTERS[name](sim, Path(path))


class _CallablePackage(ModuleType):
    """This package's class: calling the package exports."""

    def __call__(self, sim: SimulatedModel, path: str | Path, target: str | None = None) -> Path:
        """See ``export``."""
        return export(sim, path, target)


sys.modules[__name__].__class__ = _CallablePackage

__all__ = ["EXPORTERS", "export", "export_float", "export_onnx"]
