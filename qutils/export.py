"""Write files for runtimes: each backend has an exporter, and ``export`` calls it.

``qutils.export.export`` writes a file. The module is callable: ``qutils.export(sim, path)`` also
runs the file and compares it with the simulation, as ``qutils.analysis.delivery`` does; it has its
name whichever was imported first. Importing the module imports no exporter, and so neither torch
nor another framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from qutils.backends import BACKENDS
from qutils.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from qutils.backends.shared.onnx_writer import export_float as export_float
    from qutils.backends.shared.onnx_writer import export_onnx as export_onnx
    from qutils.simulate import SimulatedModel


def export(sim: SimulatedModel, path: str | Path, target: str | None = None) -> Path:
    """Write a simulated model for a runtime; returns the path written.

    The file computes what was simulated in any runtime whose kernels sum exactly.
    ``runtimes.load(path)`` sees to that; a plain ONNX Runtime session on an x86 CPU without VNNI
    needs ``session.x64quantprecision`` (see ``qutils.backends.onnxruntime.runtime``), or weights
    that cannot overflow (``Recipe.saturation_safe``, the default for OpenVINO and Inductor).

    Args:
        target: the runtime; default is the one the model was placed for.

    Raises:
        InvalidInputError: unknown target, a file of another target's ending, or not a simulated
            model.
        UnsupportedError: the model was placed for another target, or the target has no integer
            kernel for the recipe.
    """
    from qutils.graph import target as known_target
    from qutils.simulate import SimulatedModel

    if not isinstance(sim, SimulatedModel):
        raise InvalidInputError(
            f"export takes a simulated model, got {type(sim).__name__}: make one with "
            "q.calibrate(model, batches), or write a float model with q.export_float"
        )
    name = known_target(target or sim.target.name).name
    if name != sim.target.name:
        raise UnsupportedError(
            f"this model was calibrated for {sim.target.name}; "
            f"calibrate(..., target={name!r}) first"
        )
    backend = BACKENDS[name]
    if Path(path).suffix != backend.suffix:
        raise InvalidInputError(
            f"{path} has an ending that {name} does not read ({backend.suffix}): change it, or "
            "calibrate for another target: calibrate(..., target=...)"
        )
    return backend.write(sim, Path(path))


class _CallableModule(ModuleType):
    """This module's class: calling the module is ``qutils.analysis.delivery.export``."""

    def __call__(
        self,
        sim: SimulatedModel,
        path: str | Path,
        target: str | None = None,
        *,
        verify: bool = True,
    ) -> Path:
        """See ``qutils.analysis.delivery.export``."""
        deliver: Callable[..., Path] = import_module("qutils.analysis.delivery").export
        return deliver(sim, path, target, verify=verify)


if not TYPE_CHECKING:  # a type checker reads the imports above

    def __getattr__(name):
        """The exporters of ONNX, imported when they are first used (PEP 562)."""
        if name not in ("export_float", "export_onnx"):
            raise AttributeError(f"module 'qutils.export' has no attribute {name!r}")
        return getattr(import_module("qutils.backends.shared.onnx_writer"), name)


sys.modules[__name__].__class__ = _CallableModule

__all__ = ["export", "export_float", "export_onnx"]
