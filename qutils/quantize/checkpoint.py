"""A simulated model on disk: weights, scales, zero points, and the recipe they belong to."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qutils.errors import DataError, InvalidInputError
from qutils.graph import Captured, Identity, capture, place, target, with_own_biases
from qutils.graph.axes import Layout
from qutils.graph.inputs import OpenAxis, TensorSpec
from qutils.graph.signature import Batch, Signature
from qutils.numerics.affine import QParams
from qutils.numerics.schemes import Recipe, Scheme
from qutils.numerics.tensors import SIMULATED, read_metadata, read_tensors, write_tensors
from qutils.quantize.calibration import Observation, scheme_of
from qutils.quantize.simulate import FakeQuantize, SimulatedModel


def save(sim: SimulatedModel, path: Path | str) -> Path:
    """Write what calibration or QAT made, at any bits, as safetensors; returns ``path``.

    The file holds every weight, bias, scale and zero point, and beside them recipe, target, input
    shapes and a digest of the network; ``load`` needs no data. Neither the learning curve nor the
    calibration samples are kept.

    Raises:
        InvalidInputError: ``sim`` is not a simulated model, or ``path`` has another ending.
        DataError: the folder cannot be written; an earlier file is intact.
    """
    if not isinstance(sim, SimulatedModel):
        raise InvalidInputError(
            f"save takes a simulated model, got {type(sim).__name__}: make one with "
            "q.calibrate(model, batches)"
        )
    if Path(path).suffix != ".safetensors":
        raise InvalidInputError(f"save writes safetensors: give {path} the ending .safetensors")
    made = {
        "recipe": asdict(sim.recipe),
        "target": sim.target.name,
        "keep_float": list(sim.placement.keep_float),
        "inputs": [_described_input(spec) for spec in sim.captured.signature.inputs],
        "open_axes": sim.captured.signature.sizes,
        "own_biases": sim.captured.own_biases,
        "frozen": list(sim.captured.frozen),
        "network": asdict(sim.captured.identity) | {"torch": torch.__version__},
    }
    return write_tensors(sim, Path(path), {SIMULATED: json.dumps(made, sort_keys=True)})


def load(path: Path | str, model: nn.Module) -> SimulatedModel:
    """The simulated model that ``save`` wrote: simulate it, train it on, export it.

    Quantizers go where the graph and the target put them, and take their ranges from the file. What
    was frozen when it was saved stays frozen in QAT, whatever ``model`` says now (of a file that
    does not say it, what ``model`` freezes).

    Args:
        model: the float model it was made from, with any weights: it gives the architecture alone
            and stays as it is.

    Raises:
        InvalidInputError: no path.
        DataError: the file is missing, cannot be read, is not one of ``save``, or was made from
            another network: of other tensors, or of other operators, arguments or connections.
        UnsupportedError: as ``observe``.
    """
    if not isinstance(path, str | Path):
        raise InvalidInputError(
            f"load takes a path, then the float model, got {type(path).__name__} first"
        )
    path = Path(path)
    made = _described(path)
    frozen, network = made.pop("frozen"), made.pop("network")
    example, axes = _example(made.pop("inputs"), made.pop("open_axes"))
    captured = capture(model, example, axes)
    _check_network(path, network, captured.identity, operators=True)
    sim = _without_ranges(captured, **made)
    same = network is not None and network[0].digest == captured.identity.digest
    try:
        read_tensors(sim, path)  # names and shapes that differ
    except DataError as error:
        if not same:
            raise
        raise DataError(
            f"{path} was made from this network by another version of qutils, which folded layers "
            f"or placed quantizers otherwise: {error} Here neither helps: calibrate the float "
            "model again, and save that."
        ) from error
    _check_network(path, network, captured.identity)
    if frozen is not None:
        sim.captured.freeze(frozen)
    return sim.requires_grad_(False).eval()


def _check_network(
    path: Path, network: tuple[Identity, str] | None, ours: Identity, operators: bool = False
) -> None:
    """Refuse another network (``operators``: of other operators); warn if the file names none."""
    if network is None:
        if operators:
            warnings.warn(
                f"{path} does not say which network it was made from, as an earlier version wrote "
                "it: only names and shapes of its tensors were compared. Save it again with "
                "q.save.",
                stacklevel=3,
            )
        return
    theirs, version = network
    if theirs.same_operators(ours) if operators else theirs.digest == ours.digest:
        return
    raise DataError(
        f"{path} was made from another network: {theirs.difference(ours)}. Build the model as it "
        f"was when the file was saved (with torch {version}; this is {torch.__version__})."
    )


def _described_input(spec: TensorSpec) -> dict[str, Any]:
    dtype = str(spec.dtype).removeprefix("torch.")
    shape = list(spec.shape)  # names where axes are open
    return {"name": spec.name, "shape": shape, "dtype": dtype, "batch_axis": spec.batch_axis}


def _inputs(made: dict[str, Any]) -> tuple[TensorSpec, ...]:
    """What the network takes; a file of an earlier version holds the shape of one input."""
    if "inputs" not in made:
        return Signature.of(*map(int, made["input_shape"])).inputs
    return tuple(
        TensorSpec(
            str(one["name"]),
            tuple(axis if isinstance(axis, str) else int(axis) for axis in one["shape"]),
            _dtype(one["dtype"]),
            one.get("batch_axis", 0),
        )
        for one in made["inputs"]
    )


def _example(inputs: tuple[TensorSpec, ...], sizes: dict[str, int]) -> tuple[Batch, Layout]:
    """A batch of zeros of the sizes that were traced, and which axes are open."""
    open_axes = tuple(OpenAxis(name, size) for name, size in sizes.items())
    names = {
        spec.name: {
            axis: name
            for axis, name in enumerate(spec.axes)
            if isinstance(name, str) and axis != spec.batch_axis
        }
        for spec in inputs
    }
    axes = Layout({spec.name: spec.batch_axis for spec in inputs}, names)
    return Signature(inputs, open_axes=open_axes).example(), axes


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name} is no type of tensors")
    return found


def _recipe(saturation_safe: bool = False, **schemes: dict[str, Any]) -> Recipe:
    """The recipe of a file; one of an earlier version has weights of the whole range."""
    roles = {role: Scheme(**scheme) for role, scheme in schemes.items()}
    return Recipe(saturation_safe=saturation_safe, **roles)


def _network(made: dict[str, Any]) -> tuple[Identity, str]:
    """The network that a file was made from, and the version of torch that captured it."""
    operators = tuple(map(str, made["operators"]))
    return Identity(str(made["digest"]), operators), str(made["torch"])


def _described(path: Path) -> dict[str, Any]:
    """What ``save`` wrote beside the tensors, as the arguments of ``_without_ranges``."""
    words = read_metadata(path)
    try:
        made = json.loads(words[SIMULATED])
        return {
            "recipe": _recipe(**made["recipe"]),
            "target_name": target(made["target"]).name,
            "keep_float": tuple(map(str, made.get("keep_float", ()))),
            "inputs": _inputs(made),
            "open_axes": {str(n): int(size) for n, size in made.get("open_axes", {}).items()},
            "own_biases": bool(made.get("own_biases", False)),
            "network": _network(made["network"]) if "network" in made else None,
            "frozen": tuple(map(str, made["frozen"])) if "frozen" in made else None,
        }
    except Exception as error:  # whatever words of any content raise
        raise DataError(
            f"{path} holds no simulated model, or one that is damaged. Give a file that q.save "
            "wrote; float weights go into the model itself."
        ) from error


def _without_ranges(
    captured: Captured,
    recipe: Recipe,
    target_name: str,
    keep_float: tuple[str, ...],
    own_biases: bool,
) -> SimulatedModel:
    """All quantizers in place, every activation's scale 1."""
    goal = target(target_name)
    if own_biases:
        captured = with_own_biases(captured, goal)
    placement = place(captured.module, goal, keep_float=keep_float)
    kept = Observation(captured, placement, goal, statistics={}, pictures=0)
    quantizers = {}
    for site in placement.sites.values():
        scheme = scheme_of(site, recipe)
        if site.role == "weight":  # has its shape, per channel or group, from the weight itself
            quantizers[site.name] = kept.quantizer(site, scheme)
            continue
        unit = QParams(torch.ones(()), torch.zeros((), dtype=torch.int32), scheme.qmin, scheme.qmax)
        quantizers[site.name] = FakeQuantize(site, scheme, unit)
    return SimulatedModel(captured, placement, goal, recipe, quantizers)
