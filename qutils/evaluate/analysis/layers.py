"""SQNR layer by layer: the float graph's activations, kept, against those of a simulated model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Interpreter, Node

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.sqnr import decibels, sqnr_db
from qutils.graph import Captured, Placement
from qutils.graph.signature import Batch, named_outputs
from qutils.quantize.simulate import FakeQuantize, SimulatedModel


@dataclass(frozen=True)
class FloatActivations:
    """What the float graph computes on one batch, at every activation site.

    ``values`` float32 by site name, in order of execution; ``power`` is ``sum x^2`` of each.
    """

    x: Batch
    values: dict[str, Tensor]
    power: dict[str, float]
    logits: Tensor  # the first of several outputs

    @property
    def nbytes(self) -> int:
        """Memory that is kept [bytes]."""
        given = self.x.values() if isinstance(self.x, Mapping) else (self.x,)
        return sum(t.nbytes for t in (*given, self.logits, *self.values.values()))


@dataclass(frozen=True)
class LayerSqnr:
    """SQNR [dB] of one activation, with all the error that reached it from the layers before."""

    layer: str  # site name: "input", "stage1.conv1"
    role: str
    sqnr_db: float


@dataclass(frozen=True)
class LayerComparison:
    """One simulated pass: SQNR by layer in order of execution, and what came out."""

    layers: tuple[LayerSqnr, ...]
    logits: Tensor
    logits_sqnr_db: float

    @property
    def worst(self) -> LayerSqnr:
        """The layer of the lowest SQNR."""
        return min(self.layers, key=lambda layer: layer.sqnr_db)


def float_activations(captured: Captured, placement: Placement, x: Batch) -> FloatActivations:
    """Run a batch ``[N, ...]``, or one tensor an input, through the float graph once.

    Memory: all activations of the batch (``nbytes``): of 64 images, 23 MB in ResNet-8 and 42 MB
    in MobileNetV2.

    Raises:
        InvalidInputError: a batch of the wrong shape or type, or with NaN or Inf.
    """
    inputs = captured.signature.arguments(x)
    if any(t.numel() == 0 or not torch.isfinite(t).all() for t in inputs):
        raise InvalidInputError("the batch is empty or holds NaN or Inf: give finite samples")
    keeper = _Keeper(captured, placement)
    with torch.no_grad():
        logits = _first(captured.signature.pack(keeper.run(*inputs)))
    values = {
        site.name: keeper.kept[site.node].detach()  # an added parameter, say
        for site in placement.sites.values()
        if site.role != "weight"
    }
    return FloatActivations(x, values, {name: _power(v) for name, v in values.items()}, logits)


def compare_layers(kept: FloatActivations, sim: SimulatedModel) -> LayerComparison:
    """One pass of the same batch through a simulated model, compared at every activation site.

    The simulated model may have any recipe, and weights of its own (QAT); its sites are those
    of the float graph.

    Raises:
        InvalidInputError: the activations are of another model.
    """
    powers: dict[str, float] = {}
    with torch.no_grad(), _noise_into(powers, kept, sim):
        logits = _first(sim(kept.x))
    layers = [
        LayerSqnr(site.name, site.role, decibels(kept.power[site.name], powers[site.name]))
        for site in sim.placement.sites.values()
        if site.role != "weight"
    ]
    return LayerComparison(tuple(layers), logits, sqnr_db(kept.logits, logits))


class _Keeper(Interpreter):
    """Runs the float graph and keeps the value of every activation site."""

    def __init__(self, captured: Captured, placement: Placement) -> None:
        super().__init__(captured.module)
        self.wanted = {s.node for s in placement.sites.values() if s.role != "weight"}
        self.kept: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name in self.wanted:
            self.kept[n.name] = value
        return value


@contextmanager
def _noise_into(
    powers: dict[str, float], kept: FloatActivations, sim: SimulatedModel
) -> Iterator[None]:
    """While open, each pass writes ``sum (x - y)^2`` of every activation site to ``powers``."""

    def hook(module: nn.Module, _: Any, y: Tensor) -> None:
        assert isinstance(module, FakeQuantize)
        powers[module.site.name] = _power(y - kept.values[module.site.name])

    watched = [m for m in sim.quantizers.values() if m.site.role != "weight"]
    if {m.site.name for m in watched} != set(kept.values):
        raise InvalidInputError("the activations kept are those of another model: run it again")
    handles = [module.register_forward_hook(hook) for module in watched]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(outputs: Any) -> Tensor:
    return next(iter(named_outputs(outputs).values()))


def _power(x: Tensor) -> float:
    """``sum x^2``; the norm adds in any layout without a copy."""
    return float(torch.linalg.vector_norm(x)) ** 2
