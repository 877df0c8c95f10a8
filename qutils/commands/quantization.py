"""What ``qutils quantize`` does: check everything, calibrate, train, export, score."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qutils import bench, runtimes, zoo
from qutils.calibration import calibrate
from qutils.commands import summary
from qutils.commands.material import Material, read_material
from qutils.commands.models import is_own, read_model
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.experiments.staging import probe_write
from qutils.export import export, export_float
from qutils.files import atomic_path
from qutils.graph import target as target_of
from qutils.qat import finetune
from qutils.schemes import Granularity, Recipe, Scheme
from qutils.simulate import SimulatedModel

_BATCH = 128


@dataclass(frozen=True)
class Request:
    """What the user asks for; see ``qutils quantize --help``."""

    model: str
    out: Path | None = None
    weights: Path | None = None
    data: str | None = None
    pictures: int = 512
    weight_bits: int = 8
    activation_bits: int = 8
    observer: str = "minmax"
    granularity: Granularity = "per_channel"
    group_size: int | None = None
    symmetric: bool | None = None
    target: str = "onnxruntime"
    allow_float: bool = False
    simulate_only: bool = False
    qat_epochs: float = 0.0
    seed: int = 0
    threads: int = 1

    @property
    def recipe(self) -> Recipe:
        """The quantization recipe; the input keeps 8 bits."""
        common: dict[str, Any] = {"symmetric": self.symmetric, "observer": self.observer}
        weights = Scheme(
            self.weight_bits, granularity=self.granularity, group_size=self.group_size, **common
        )
        return Recipe(weights, Scheme(self.activation_bits, **common))

    @property
    def without_kernels(self) -> str:
        """Why the target cannot run the recipe in integers; empty if it can."""
        try:
            target_of(self.target).require_kernels(self.recipe)
        except UnsupportedError as error:
            return str(error)
        return ""


def quantize(request: Request) -> list[str]:
    """Quantize as asked; returns the lines of the summary.

    Raises:
        InvalidInputError: something asked for cannot be done; nothing is written.
        DataError: a file cannot be read or written.
        UnsupportedError: the model cannot be traced, or holds an operator without kernel.
    """
    _check_output(request)
    torch.set_num_threads(request.threads)
    material = read_material(_data(request), request.pictures)
    model = read_model(request.model, request.weights)
    _check_fit(model, material, request)
    sim = calibrate(
        model,
        material.calibration,
        request.recipe,
        target=request.target,
        allow_float=request.allow_float,
        progress=True,
    )
    if request.qat_epochs:
        sim = _train(sim, material, request)
    head = _head(request, material, sim)
    if request.simulate_only:
        return head + _simulated(model, sim, material, request)
    return head + _exported(model, sim, material, request)


def _check_output(request: Request) -> None:
    """Refuse what could only fail at the end."""
    if request.simulate_only == (request.out is not None):
        raise InvalidInputError(
            "name a file OUT.onnx to write, or give --simulate-only to write none (not both)"
        )
    if request.out is None:
        return
    if request.without_kernels:
        raise InvalidInputError(
            f"{request.without_kernels} To see what this setting costs: leave {request.out} away "
            "and give --simulate-only."
        )
    if request.out.suffix != ".onnx":
        raise InvalidInputError(f"{request.target} reads .onnx files: name {request.out} so")
    probe_write(request.out.resolve().parent)


def _data(request: Request) -> str:
    if request.data is not None:
        return request.data
    if is_own(request.model):
        raise InvalidInputError(
            "a model of one's own needs --data: an .npz or .npy file of inputs [N, ...], a folder "
            f"of .npy files, or one of {', '.join(zoo.DATASETS)}"
        )
    return zoo.entry(request.model).dataset


def _check_fit(model: nn.Module, material: Material, request: Request) -> None:
    """Refuse inputs and labels that the float model cannot take."""
    x = material.calibration[:2]
    try:
        with torch.no_grad():
            outputs = model(x)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInputError(
            f"{request.model} cannot run inputs of shape [N, {', '.join(map(str, x.shape[1:]))}] "
            f"({reason}): give --data of the shape that the model takes"
        ) from error
    if not isinstance(outputs, Tensor):
        raise InvalidInputError(
            f"{request.model} returns a {type(outputs).__name__}: wrap it in a module that returns "
            "one tensor"
        )
    if request.qat_epochs and material.train is None:
        raise InvalidInputError("--qat-epochs needs labels: add an array 'labels' to the data")
    labels = [
        y for y in (material.test.y, getattr(material.train, "labels", None)) if y is not None
    ]
    largest = max((int(y.max()) for y in labels if len(y)), default=0)
    if labels and outputs.ndim == 2 and largest >= outputs.shape[1]:
        raise InvalidInputError(
            f"a label is {largest}, but {request.model} tells {outputs.shape[1]} classes apart "
            f"(0..{outputs.shape[1] - 1})"
        )


def _train(sim: SimulatedModel, material: Material, request: Request) -> SimulatedModel:
    assert material.train is not None
    return finetune(
        sim,
        material.train,
        epochs=request.qat_epochs,
        batch_size=min(_BATCH, len(material.train.labels)),
        seed=request.seed,
    )


def _head(request: Request, material: Material, sim: SimulatedModel) -> list[str]:
    method = f"QAT, {request.qat_epochs:g} epochs" if request.qat_epochs else "PTQ"
    lines = [
        f"{request.model}: {request.recipe.label}, {request.granularity} weights, "
        f"{request.observer} ranges of {len(material.calibration):,} inputs, {method}",
        f"data: {material.source}",
    ]
    if is_own(request.model) and request.weights is None:
        lines.append(f"weights: as {request.model} makes them (no --weights given)")
    if sim.placement.float_nodes:
        lines.append(f"kept in float: {', '.join(sim.placement.float_nodes)}")
    return lines


def _models(model: nn.Module, sim: SimulatedModel) -> dict[str, Callable[..., Any]]:
    return {
        summary.FLOAT: bench.predict_with(model),
        summary.SIMULATED: bench.predict_with(sim),
    }


def _simulated(
    model: nn.Module, sim: SimulatedModel, material: Material, request: Request
) -> list[str]:
    scores = summary.score(_models(model, sim), material.test)
    lines = summary.score_lines(scores, request.recipe.label, request.target)
    return [*lines, f"Nothing was exported. {request.without_kernels}".strip()]


def _exported(
    model: nn.Module, sim: SimulatedModel, material: Material, request: Request
) -> list[str]:
    """Export and score the file itself; it takes its place only when all of that went well."""
    assert request.out is not None
    with atomic_path(request.out) as file, tempfile.TemporaryDirectory() as folder:
        export(sim, file, target=request.target)
        runtime = runtimes.load(file, runtime=request.target, threads=request.threads)
        models = _models(model, sim) | {summary.INTEGER: runtime.run}
        scores = summary.score(models, material.test)
        lines = summary.score_lines(scores, request.recipe.label, request.target)
        shape = sim.captured.input_shape
        before = export_float(sim.captured.module, shape, Path(folder) / "float.onnx")
        lines += summary.size_lines(bench.size_of(before), bench.size_of(file))
        executed = runtime.kernels().most_common()
    lines.append(f"executes: {', '.join(f'{count} {op}' for op, count in executed)}")
    return [*lines, f"Wrote {request.out}"]
