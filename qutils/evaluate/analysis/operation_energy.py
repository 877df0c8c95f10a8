"""Energy of one inference, estimated from multiply-adds and bytes moved; nothing is measured.

Energies are those of a 45 nm chip at 0.9 V, as published in 2014: today's are lower, the ratios
between them much the same. Instructions, control and idle power are left out, and so is
everything but layers with weights. Read it as why fewer bits save energy, and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from qutils.errors import unknown_name
from qutils.evaluate.analysis.packing import packed_bytes
from qutils.graph import Captured
from qutils.graph.nodes import is_float, layer_of, op_name
from qutils.graph.ops import names
from qutils.quantize.simulate import SimulatedModel

_WORD = 8  # bytes of one access
_FLOAT_BITS = 32
_LAYERS = names("weighted")


@dataclass(frozen=True)
class Memory:
    """Energy of one access of 64 bits [pJ], lowest and highest."""

    name: str
    low_pj: float
    high_pj: float

    def per_byte(self) -> Interval:
        """Energy of one byte [pJ]."""
        return Interval(self.low_pj / _WORD, self.high_pj / _WORD)


@dataclass(frozen=True)
class Interval:
    """An energy between two bounds, in the unit its name says."""

    low: float
    high: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.low * factor, self.high * factor)


#: One multiplication and one addition [pJ]: ``mult + add``, products of int8 summed in int32.
MULTIPLY_ADD_PJ = {"float32": 3.7 + 0.9, "float16": 1.1 + 0.4, "int8": 0.2 + 0.1}
MEMORIES = {
    memory.name: memory
    for memory in (
        Memory("sram_8kb", 10.0, 10.0),
        Memory("sram_32kb", 20.0, 20.0),
        Memory("sram_1mb", 100.0, 100.0),
        Memory("dram", 1300.0, 2600.0),
    )
}


@dataclass(frozen=True)
class LayerCost:
    """What one layer computes and moves for one input; ``arithmetic`` names its numbers."""

    layer: str
    arithmetic: str  # a key of MULTIPLY_ADD_PJ
    multiply_adds: int
    weight_bytes: int  # packed to their bits
    activation_bytes: int  # read and written once


@dataclass(frozen=True)
class OperationEnergy:
    """Estimated energy of one inference [uJ], by what it goes into."""

    layers: tuple[LayerCost, ...]
    arithmetic_uj: float
    weights_uj: Interval
    activations_uj: Interval
    weights_in: str
    activations_in: str

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers with weights."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def total_uj(self) -> Interval:
        """Arithmetic and both kinds of traffic [uJ]."""
        arithmetic = Interval(self.arithmetic_uj, self.arithmetic_uj)
        return arithmetic + self.weights_uj + self.activations_uj

    def __str__(self) -> str:
        total, weights = self.total_uj, self.weights_uj
        return (
            f"estimated (Horowitz 2014, 45 nm): {total.low:.3g} to {total.high:.3g} uJ an "
            f"inference ({self.multiply_adds:,} multiply-adds {self.arithmetic_uj:.3g} uJ, weights "
            f"from {self.weights_in} {weights.low:.3g} to {weights.high:.3g} uJ, activations in "
            f"{self.activations_in} {self.activations_uj.high:.3g} uJ)"
        )


def operation_energy(
    model: Captured | SimulatedModel,
    weights_in: str = "dram",
    activations_in: str = "sram_1mb",
) -> OperationEnergy:
    """Estimate the energy of one inference from what its layers with weights do.

    ``E = sum_layers multiply_adds (E_mult + E_add) + bytes_weights E_w + bytes_activations E_a``:
    weights are read once from ``weights_in``, activations read and written once in
    ``activations_in`` (keys of ``MEMORIES``). Integers below 8 bits are multiplied as int8, for
    which there is no published energy below, and move packed.

    Raises:
        InvalidInputError: no such memory.
    Source: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
        figure 1.1.9; one decimal as widely reproduced (the slides round 3.7 to 4 and 1.1 to 1).
    """
    for name in (weights_in, activations_in):
        if name not in MEMORIES:
            raise unknown_name("memory", name, MEMORIES)
    captured = model if isinstance(model, Captured) else model.captured
    layers = tuple(_count(captured, _Bits(None if isinstance(model, Captured) else model)))
    weights = MEMORIES[weights_in].per_byte() * sum(layer.weight_bytes for layer in layers)
    moved = MEMORIES[activations_in].per_byte() * sum(layer.activation_bytes for layer in layers)
    arithmetic = sum(MULTIPLY_ADD_PJ[layer.arithmetic] * layer.multiply_adds for layer in layers)
    return OperationEnergy(
        layers, arithmetic * 1e-6, weights * 1e-6, moved * 1e-6, weights_in, activations_in
    )


class _Bits:
    """Bits of a node's value: of its quantizer, or of a float."""

    def __init__(self, sim: SimulatedModel | None) -> None:
        self._sim = sim
        quantizers = sim.quantizers.values() if sim is not None else ()
        self._bits = {q.site.node: q.scheme.bits for q in quantizers}

    def of(self, node: Node) -> int:
        """As read by a layer; a value that only moves keeps the bits of its source."""
        shared = self._sim.placement.shared if self._sim is not None else {}
        return self._bits.get(shared.get(node.name, node.name), _FLOAT_BITS)

    def written_by(self, node: Node) -> int:
        """Of a layer's result, after the activation that its kernel fuses."""
        while self._sim is not None and node.name not in self._bits and len(node.users) == 1:
            user = next(iter(node.users))
            if op_name(user) not in self._sim.target.fused:
                break
            node = user
        return self.of(node)


class _Shapes(Interpreter):
    """Runs a graph on one input and keeps how many values each node makes."""

    def __init__(self, captured: Captured) -> None:
        super().__init__(captured.module)
        self.counts: dict[Node, int] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.counts[n] = result.numel()
        return result


@torch.no_grad()
def _count(captured: Captured, bits: _Bits) -> list[LayerCost]:
    shapes = _Shapes(captured)
    shapes.run(torch.zeros(1, *captured.input_shape))
    counts, costs = shapes.counts, []
    for node in captured.module.graph.nodes:
        if op_name(node) not in _LAYERS or not is_float(node):
            continue
        source, weight = node.args[0], node.args[1]
        outputs = int(node.meta["val"].shape[1])  # channels, or features
        widths = (bits.of(source), bits.of(weight))
        integer = max(widths) <= 8
        costs.append(
            LayerCost(
                layer=layer_of(node),
                arithmetic="int8" if integer else "float32",
                multiply_adds=counts[node] * counts[weight] // outputs,
                weight_bytes=_bytes(counts[weight], widths[1]),
                activation_bytes=_bytes(counts[source], widths[0])
                + _bytes(counts[node], bits.written_by(node)),
            )
        )
    return costs


def _bytes(count: int, bits: int) -> int:
    return 4 * count if bits > 8 else packed_bytes(count, bits)
