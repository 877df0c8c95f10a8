"""Exporters, one file a format; EXPORTERS maps a target to the one that writes for it.

``qutils.export.export`` writes a file. The package is callable: ``qutils.export(sim, path)`` also
runs the file and compares it with the simulation, as ``qutils.analysis.delivery`` does; it has its
name whichever was imported first. Importing the package imports no exporter, and so neither torch
nor another framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from qutils.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from qutils.backends.shared.onnx_writer import export_float as export_float
    from qutils.backends.shared.onnx_writer import export_onnx as export_onnx
    from qutils.simulate import SimulatedModel

Exporter = Callable[["SimulatedModel", Path], Path]


def _late(module: str, name: str) -> Exporter:
    """An exporter whose module is imported when it is called."""

    def exporter(sim: SimulatedModel, path: Path) -> Path:
        write: Exporter = getattr(import_module(f"qutils.backends.{module}"), name)
        return write(sim, path)

    return exporter


EXPORTERS: dict[str, Exporter] = {
    "onnxruntime": _late("shared.onnx_writer", "export_onnx"),
    "openvino": _late("shared.onnx_writer", "export_onnx"),
    "tensorrt": _late("tensorrt.exporter", "export_tensorrt"),
    "litert": _late("litert.exporter", "export_litert"),
    "executorch": _late("executorch.exporter", "export_executorch"),
    "inductor": _late("inductor.exporter", "export_inductor"),
}
#: The ending of a target's files, by which runtimes and readers know them.
SUFFIXES = {
    "onnxruntime": ".onnx",
    "openvino": ".onnx",
    "tensorrt": ".onnx",
    "litert": ".tflite",
    "executorch": ".pte",
    "inductor": ".pt2",
}


def targets_of(path: str | Path) -> tuple[str, ...]:
    """The targets whose files end as ``path`` does, the usual one first.

    >>> targets_of("net.tflite"), targets_of("net.txt")
    (('litert',), ())
    """
    return tuple(name for name, suffix in SUFFIXES.items() if suffix == Path(path).suffix)


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
    if Path(path).suffix != SUFFIXES[name]:
        raise InvalidInputError(
            f"{path} has an ending that {name} does not read ({SUFFIXES[name]}): change it, or "
            "calibrate for another target: calibrate(..., target=...)"
        )
    return EXPORTERS[name](sim, Path(path))


class _CallablePackage(ModuleType):
    """This package's class: calling the package is ``qutils.analysis.delivery.export``."""

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


sys.modules[__name__].__class__ = _CallablePackage

__all__ = ["EXPORTERS", "SUFFIXES", "export", "export_float", "export_onnx", "targets_of"]
