"""Write files for runtimes: each backend has an exporter, and ``export`` calls it.

``qutils.export`` also runs the file and compares it with the simulation (see
``qutils.evaluate.analysis.delivery``). Importing this module imports no exporter, and so neither
torch nor another framework.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qutils.backends import BACKENDS
from qutils.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from qutils.quantize.simulate import SimulatedModel


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
    from qutils.quantize.simulate import SimulatedModel

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
