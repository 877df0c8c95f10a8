"""How much each layer hurts: one layer quantized at a time, everything else in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.quantize.simulate import FakeQuantize, FakeQuantizeBias, SimulatedModel

Part = Literal["weights", "activation", "both"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Pictures run at a time.
CHUNK = 128


@dataclass(frozen=True)
class LayerSensitivity:
    """What quantizing one layer alone does to the network's output.

    ``agreement`` and ``top1`` are percent of ``n`` pictures, ``top1_drop`` percentage points below
    the float model; the last two are None without labels.
    """

    layer: str
    part: Part
    sqnr_db: float  # of the logits
    agreement: float  # same class as in float
    top1: float | None
    top1_drop: float | None
    n: int


def sensitivity(
    sim: SimulatedModel,
    x: Tensor,
    labels: Tensor | None = None,
    parts: Sequence[Part] = ("both",),
) -> tuple[LayerSensitivity, ...]:
    """Quantize the weights or the output of one layer at a time, as ``sim`` would; layer by layer.

    Biases stay float: without the quantizer of the layer's input there is no integer grid for
    them. Costs one pass for each layer and part. ``pandas.DataFrame(sensitivity(...))`` is a table.

    Args:
        x: ``[N, ...]``. labels: int64 ``[N]``.
        parts: which of "weights", "activation", "both"; what a layer lacks is left out.

    Raises:
        InvalidInputError: no pictures, labels of another number, an unknown part.
    """
    if len(x) == 0 or (labels is not None and labels.shape != (len(x),)):
        raise InvalidInputError("give at least one picture, and one label for each picture")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise InvalidInputError(f"unknown part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    graph = sim.graph_module
    reference = _run(graph, x, frozenset())
    found = []
    for layer, sites in layers_of(sim).items():
        for part in parts:
            if part == "both" or part in sites:
                chosen = sites.values() if part == "both" else [sites[part]]
                logits = _run(graph, x, frozenset(chosen))
                found.append(_result(layer, part, reference, logits, labels))
    return tuple(found)


def layers_of(sim: SimulatedModel) -> dict[str, dict[Part, str]]:
    """Site names by layer and part, in order of execution.

    >>> from qutils.quantize.calibration import calibrate
    >>> layers_of(calibrate(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.randn(8, 4)))
    {'input': {'activation': 'input'}, '0': {'weights': '0.weight'}}
    """
    layers: dict[str, dict[Part, str]] = {}
    for site in sim.placement.sites.values():
        if site.role == "weight":
            layers.setdefault(site.layer, {})["weights"] = site.name
        else:
            layers.setdefault(site.name, {})["activation"] = site.name
    return layers


def _result(
    layer: str, part: Part, reference: Tensor, logits: Tensor, labels: Tensor | None
) -> LayerSensitivity:
    before, after = reference.argmax(dim=1), logits.argmax(dim=1)
    top1 = drop = None
    if labels is not None:
        top1 = _percent(after == labels)
        drop = _percent(before == labels) - top1
    return LayerSensitivity(
        layer, part, sqnr_db(reference, logits), _percent(before == after), top1, drop, len(logits)
    )


def _percent(hits: Tensor) -> float:
    return 100.0 * int(hits.sum()) / len(hits)


@torch.no_grad()
def _run(graph: GraphModule, x: Tensor, active: frozenset[str]) -> Tensor:
    """Logits ``[N, classes]`` with the quantizers of the ``active`` sites alone."""
    partly = _Partly(graph, active)
    return torch.cat([cast(Tensor, partly.run(chunk)) for chunk in torch.split(x, CHUNK)])


class _Partly(Interpreter):
    """Runs a simulated graph; quantizers that are not active pass their input on."""

    def __init__(self, graph: GraphModule, active: frozenset[str]) -> None:
        super().__init__(graph)
        self.active = active

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        idle = isinstance(module, FakeQuantize) and module.site.name not in self.active
        if idle or isinstance(module, FakeQuantizeBias):
            return args[0]
        return super().call_module(target, args, kwargs)
