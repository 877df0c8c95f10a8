"""The written file: exported, run beside the simulation, scored and measured in bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.shared.onnx_writer import export_float
from qutils.cli.commands import summary
from qutils.cli.commands.ends import keep_names
from qutils.cli.commands.material import Material
from qutils.cli.commands.named import NamedSamples
from qutils.cli.commands.request import Request
from qutils.errors import UnsupportedError
from qutils.evaluate import bench
from qutils.evaluate.analysis import verify
from qutils.evaluate.analysis.delivery import Delivery
from qutils.evaluate.analysis.verify import diagnosed
from qutils.evaluate.bench.size import SIZED
from qutils.files import atomic_path
from qutils.graph.signature import Batch
from qutils.quantize.simulate import SimulatedModel

_VERIFIED = 8  # inputs on which the file is compared layer by layer


def models_of(model: nn.Module, sim: SimulatedModel) -> dict[str, Callable[..., Any]]:
    """Return what is scored beside a file, by how it is executed."""
    return {
        summary.FLOAT: bench.predict_with(model),
        summary.SIMULATED: bench.predict_with(sim),
    }


def exported(
    model: nn.Module, sim: SimulatedModel, material: Material, request: Request
) -> list[str]:
    """Export and score the file itself; it takes its place only when all of that went well."""
    assert request.out is not None
    if runtimes.RUNTIMES[request.target].lacking:
        return _for_elsewhere(model, sim, material, request)
    with atomic_path(request.out) as file, tempfile.TemporaryDirectory() as folder:
        export(sim, file, target=request.target)
        runtime = runtimes.load(file, runtime=request.target, threads=request.threads)
        models = models_of(model, sim) | {summary.INTEGER: runtime.run}
        scores = summary.score(models, material.test)
        lines = summary.score_lines(scores, request.recipe.label, request.target)
        lines.append(_verified(sim, runtime, material, scores, request))
        lines += _sizes(sim, Path(folder) / "float.onnx", file)
        executed = runtime.kernels().most_common()
        keep_names(file, model, sim)
    lines.append(f"executes: {', '.join(f'{count} {op}' for op, count in executed)}")
    return [*lines, f"Wrote {request.out}", *summary.run_lines(request.out, request.target)]


def _verified(
    sim: SimulatedModel,
    runtime: runtimes.Runtime,
    material: Material,
    scores: summary.Scores,
    request: Request,
) -> str:
    """Say whether the file computes what was simulated, in the words of ``qutils.export``.

    It does only if calibration data and the inputs that were scored both say so.
    """
    assert request.out is not None
    found = verify(sim, runtime, _few(material.calibration), request.target)
    scored = (
        replace(
            found,
            samples=scores.n,
            quantization_db=simulated.sqnr_db,
            file_db=file.sqnr_db,
            output=output,
        )
        for output, (simulated, file) in summary.fidelities(scores).items()
    )
    least = min(scored, key=lambda one: one.margin_db, default=found)
    if found.passed and not least.passed:
        found = diagnosed(least, sim, runtime, _few(material.test.x))
    return str(found) if found.passed else f"Warning: {Delivery(request.out, found).warning}"


def _few(x: Tensor | zoo.Photographs | NamedSamples) -> Batch:
    """The first inputs, as a network takes them."""
    few = x[:_VERIFIED]
    return few.tensors if isinstance(few, NamedSamples) else few


def _sizes(sim: SimulatedModel, before: Path, after: Path) -> list[str]:
    """Bytes of both files; of their weights too where the format lists them."""
    weights = summary.weight_lines(bench.size_of(after)) if after.suffix in SIZED else []
    try:
        export_float(sim.captured.module, sim.captured.signature, before)
    except UnsupportedError:  # another format may hold what ONNX has no operators for
        found = f"file: INT8 ({after.suffix}) {after.stat().st_size:,} bytes; no FP32 in ONNX"
        return [found, *weights]
    if after.suffix == before.suffix:
        return summary.size_lines(bench.size_of(before), bench.size_of(after))
    sizes = before.stat().st_size, after.stat().st_size
    return [summary.file_line(*sizes, (before, after)), *weights]


def _for_elsewhere(
    model: nn.Module, sim: SimulatedModel, material: Material, request: Request
) -> list[str]:
    """Export for a runtime whose hardware this machine lacks: what is simulated is scored."""
    assert request.out is not None
    with atomic_path(request.out) as file:
        export(sim, file, target=request.target)
        keep_names(file, model, sim)
        scores = summary.score(models_of(model, sim), material.test)
    lines = summary.score_lines(scores, request.recipe.label, request.target)
    lines.append(f"Not run in integers: {runtimes.RUNTIMES[request.target].lacking}")
    return [*lines, f"Wrote {request.out}", *summary.run_lines(request.out, request.target)]
