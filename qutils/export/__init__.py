"""Exporters, one file a format; EXPORTERS maps a target to the one that writes for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
            f"this model was calibrated for {sim.target.name}; calibrate(..., target={name!r}) first"
        )
    return EXPORTERS[name](sim, Path(path))


__all__ = ["EXPORTERS", "export", "export_float", "export_onnx"]
