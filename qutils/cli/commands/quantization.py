"""What ``qutils quantize`` does: check everything, calibrate, train, export, score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qutils import zoo
from qutils.cli.commands import summary
from qutils.cli.commands.exporting import exported, models_of
from qutils.cli.commands.look import NATURAL, look_of
from qutils.cli.commands.material import Material, read_material
from qutils.cli.commands.models import (
    argument_names,
    as_named,
    check_name,
    class_names,
    import_line,
    is_onnx,
    is_own,
    read_model,
)
from qutils.cli.commands.named import NamedPairs, NamedSamples, run_on
from qutils.cli.commands.request import Request
from qutils.errors import InvalidInputError
from qutils.graph.axes import Dynamic
from qutils.graph.capture import check_tensors
from qutils.graph.lookups import failed_lookup
from qutils.graph.signature import named_outputs
from qutils.graph.wrappers import check_arguments
from qutils.nested import arguments_of
from qutils.quantize import checkpoint
from qutils.quantize.calibration import observe
from qutils.quantize.ptq import METHODS
from qutils.quantize.qat import default_rate, finetune
from qutils.quantize.simulate import SimulatedModel

_BATCH = 128
_FEW = 8  # fewer inputs give ranges by chance
_EXAMPLES = 32  # inputs on which an ONNX file is compared with ONNX Runtime
_REFINED = {f"ptq-{name}": method for name, method in METHODS.items()}


def quantize(request: Request) -> list[str]:
    """Quantize as asked; returns the lines of the summary.

    Raises:
        InvalidInputError: something asked for cannot be done; nothing is written.
        DataError: a file cannot be read or written.
        UnsupportedError: the model cannot be traced, or holds an operator without kernel.
    """
    request.check()
    torch.set_num_threads(request.threads)
    material = read_material(
        _data(request), request.pictures, look_of(request), request.dynamic_axes
    )
    example = material.calibration[:_EXAMPLES]
    model = read_model(
        request.model,
        request.weights,
        example,
        request.outputs,
        request.dynamic_axes,
        request.fixed,
    )
    check_name(model, material.name, _data(request))
    dynamic = _dynamic(model, material, request)
    material = _fitted(model, _renamed(model, material), request)
    kept = observe(
        model,
        material.calibration,
        request.target,
        strict=request.strict,
        dynamic=dynamic,
        progress=True,
    )
    sim = kept.simulate(request.recipe)
    if request.method in _REFINED:
        sim = _REFINED[request.method].refine(sim, material.calibration, progress=True)
    if request.qat_epochs:
        sim = _train(sim, material, request)
    if request.save is not None:
        checkpoint.save(sim, request.save)
    head = _head(request, material, model, sim)
    if request.simulate_only:
        return head + _simulated(model, sim, material, request)
    return head + exported(model, sim, material, request)


def _data(request: Request) -> str:
    if request.data is not None:
        return request.data
    if is_own(request.model):
        raise InvalidInputError(
            "a model of one's own needs --data: an .npz or .npy file of inputs [N, ...], a folder "
            f"of pictures or .npy files, or one of {', '.join(zoo.DATASETS)}"
        )
    if request.model in zoo.PRETRAINED:
        return NATURAL
    return zoo.entry(request.model).dataset


def _fitted(model: nn.Module, material: Material, request: Request) -> Material:
    """The data with labels of the model's classes; refuses what the float model cannot take."""
    outputs = _outputs(model, material.calibration[:2], request)
    if not isinstance(outputs, Tensor):
        _check_several(outputs, material, request)
        return material
    if outputs.ndim == 2:
        classes = outputs.shape[1]
        material = material.matched(classes, class_names(model), given=bool(request.classes))
    if request.qat_epochs and material.train is None:
        raise InvalidInputError(
            f"--qat-epochs needs labels. {material.unlabelled}"
            if material.unlabelled
            else "--qat-epochs needs labels: add an array 'labels' to the data, or put pictures "
            "into folders named by class"
        )
    labels = [
        y for y in (material.test.y, getattr(material.train, "labels", None)) if y is not None
    ]
    largest = max((int(y.max()) for y in labels if len(y)), default=0)
    if labels and outputs.ndim == 2 and largest >= outputs.shape[1]:
        raise InvalidInputError(
            f"a label is {largest}, but {request.model} tells {outputs.shape[1]} classes apart "
            f"(0..{outputs.shape[1] - 1})"
        )
    return material


def _renamed(model: nn.Module, material: Material) -> Material:
    """The data by the names of the model's arguments."""
    x, test = material.calibration, material.test.x
    if not isinstance(x, NamedSamples) or not isinstance(test, NamedSamples):
        return material
    test_inputs = replace(material.test, x=as_named(model, test))
    train = material.train
    if isinstance(train, NamedPairs):
        train = replace(train, samples=as_named(model, train.samples))
    return replace(material, calibration=as_named(model, x), train=train, test=test_inputs)


def _dynamic(model: nn.Module, material: Material, request: Request) -> Dynamic | None:
    """The open axes by the names of the model's arguments."""
    x, given = material.calibration, request.dynamic_axes
    if not isinstance(x, NamedSamples):
        return given
    names = argument_names(model, x)
    found = x.dynamic(given or {})
    return {names.get(name, name): axes for name, axes in found.items()}


def _check_several(outputs: dict[str, Tensor], material: Material, request: Request) -> None:
    """Refuse what needs one output of classes: QAT, and labels."""
    if request.qat_epochs or material.test.y is not None:
        asked = "--qat-epochs" if request.qat_epochs else "labels"
        end = f" (--outputs {next(iter(outputs))})" if is_onnx(request.model) else ""
        raise InvalidInputError(
            f"{request.model} returns {', '.join(outputs)}, and {asked} need one output of class "
            f"scores. Leave them out, or give a network that returns the scores alone{end}."
        )


def _outputs(
    model: nn.Module, x: Tensor | NamedSamples, request: Request
) -> Tensor | dict[str, Tensor]:
    """What the float model makes of some inputs: one tensor, or several by name."""
    check_tensors(model)
    if isinstance(x, NamedSamples):
        check_arguments(model, arguments_of(model, x.tensors))
    try:
        with torch.no_grad():
            outputs = named_outputs(run_on(model, x))
    except Exception as error:
        beyond = failed_lookup(model, lambda: run_on(model, x))
        if isinstance(error, IndexError) and beyond is not None:
            raise beyond from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInputError(
            f"{request.model} cannot run inputs {_shape(x)} ({reason}): give --data of the shape "
            "that the model takes"
        ) from error
    if not outputs:
        raise InvalidInputError(
            f"{request.model} returns no tensor. Wrap it in a module that returns one."
        )
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _shape(x: Tensor | NamedSamples) -> str:
    if isinstance(x, NamedSamples):
        return str(x)
    return f"of shape [N, {', '.join(map(str, x.shape[1:]))}]"


def _train(sim: SimulatedModel, material: Material, request: Request) -> SimulatedModel:
    train, size, settings = material.train, _batch_size(material), _settings(request)
    if isinstance(train, NamedPairs):
        pairs = replace(train, batch_size=size, seed=request.seed or 0)
        return finetune(sim, pairs, **settings)
    assert train is not None
    return finetune(sim, train, batch_size=size, **settings)


def _settings(request: Request) -> dict[str, Any]:
    return {"epochs": request.qat_epochs, "seed": request.seed or 0}


def _batch_size(material: Material) -> int:
    assert material.train is not None
    return min(_BATCH, len(material.train.labels))


def _head(request: Request, material: Material, model: nn.Module, sim: SimulatedModel) -> list[str]:
    refined = _REFINED.get(request.method)
    method = "PTQ" if refined is None else f"PTQ with {refined.title}"
    if request.qat_epochs and material.train is not None:
        method = (
            f"{method.replace('PTQ with', 'QAT after') if refined else 'QAT'}, "
            f"{request.qat_epochs:g} epochs of {len(material.train.labels):,} inputs, "
            f"{_batch_size(material)} a step, learning rate {default_rate(request.recipe):g}"
        )
    lines = [
        f"{request.model}: {request.recipe.label}, {request.granularity} weights, "
        f"{request.observer} ranges of {len(material.calibration):,} inputs, {method}",
        f"data: {material.source}",
    ]
    if len(material.calibration) < _FEW:
        lines.append(
            f"Warning: ranges of {len(material.calibration)} inputs alone; what others reach "
            f"beyond is cut off. Give {_FEW} at least, better a hundred."
        )
    if material.unlabelled:
        lines.append(f"top-1 is not measured: {material.unlabelled}")
    if is_onnx(request.model):
        lines.append(import_line(model))
    elif is_own(request.model) and request.weights is None:
        lines.append(f"weights: as {request.model} makes them (no --weights given)")
    if request.qat_epochs:
        lines.append(
            "FP32 below was not trained further, QAT was: part of what it gains may be that"
        )
        lines += summary.frozen_lines(sim)
    lines += summary.float_lines(sim)
    lines += summary.saturation_lines(sim)
    if request.save is not None:
        lines.append(f"simulated model: {request.save} (qutils.load opens it)")
    return lines


def _simulated(
    model: nn.Module, sim: SimulatedModel, material: Material, request: Request
) -> list[str]:
    scores = summary.score(models_of(model, sim), material.test)
    lines = summary.score_lines(scores, request.recipe.label, request.target)
    return [*lines, f"Nothing was exported. {request.without_kernels}".strip()]
