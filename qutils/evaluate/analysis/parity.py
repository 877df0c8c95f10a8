"""Parity: what a runtime computes beside the integer reference, layer by layer and at the output.

Two questions are kept apart. *Cumulative*: how far is this layer's result from the reference's,
given the same picture? *Own*: how far, given the runtime's own inputs to the layer? A layer whose
own share of equal integers is below 100 % is one that computes otherwise; what comes after it
inherits the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from qutils.backends.shared.runtime import Arrays, Execution, Inner
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.sqnr import decibels
from qutils.graph.nodes import layer_of, op_name
from qutils.graph.signature import Batch, arrays_of, tensors_of
from qutils.integer import IntegerReference
from qutils.numerics.affine import quantize
from qutils.numerics.exact.values import Quantized
from qutils.quantize.simulate import FakeQuantize, SimulatedModel

#: Scales are equal if they differ by less than float32 can tell in a file.
SAME_SCALE = 1e-6


class Executor(Protocol):
    """What computes: a ``Runtime``, or ``Simulation``."""

    def run(self, batch: Any) -> Any:
        """Outputs ``[N, ...]`` of a batch ``[N, ...]``; arrays by name where there are several."""

    def inner(self, batch: Any) -> tuple[Inner, ...] | None:
        """Quantized activations in order of execution; None if none are handed out."""

    @property
    def execution(self) -> Execution:
        """Whether layers run in integer kernels or are simulated in float."""


@dataclass(frozen=True)
class Differences:
    """Two sets of integers on one grid: how many are equal, how far apart the others lie."""

    values: int
    equal: int
    largest: int  # [LSB]
    signal: float
    noise: float

    @property
    def share(self) -> float:
        """Equal integers in percent."""
        return 100 * self.equal / self.values

    @property
    def sqnr_db(self) -> float:
        """``10 log10(sum ref^2 / sum (ref - got)^2)`` [dB]; inf if all are equal."""
        return decibels(self.signal, self.noise)

    def __add__(self, other: Differences) -> Differences:
        return Differences(
            self.values + other.values,
            self.equal + other.equal,
            max(self.largest, other.largest),
            self.signal + other.signal,
            self.noise + other.noise,
        )


@dataclass(frozen=True)
class LayerParity:
    """One layer: ``cumulative`` from the picture on, ``own`` from the runtime's own inputs."""

    layer: str
    op: str
    cumulative: Differences
    own: Differences

    @property
    def departs(self) -> bool:
        """Whether this layer itself computes otherwise than the reference."""
        return self.own.equal < self.own.values


@dataclass(frozen=True)
class Parity:
    """A runtime beside the integer reference on ``pictures`` pictures.

    ``layers`` is empty if the runtime hands no inner tensors out. ``output`` compares outputs in
    steps of the output's grid, or, where a layer hands out float, of its accumulator; None behind
    an operator that computes in float (softmax). ``agreement`` [%] is of predicted classes, the
    largest along axis 1 (at every place, where outputs have more axes; of the outputs themselves,
    where they have none).
    """

    name: str
    pictures: int
    agreement: float
    output: Differences | None
    layers: tuple[LayerParity, ...] = ()
    execution: Execution = "integer"

    @property
    def departing(self) -> tuple[LayerParity, ...]:
        """Layers that themselves compute otherwise, in order."""
        return tuple(layer for layer in self.layers if layer.departs)


@dataclass
class _Count:
    """Sums over batches."""

    pictures: int = 0
    same: float = 0.0  # pictures
    output: Differences | None = None
    layers: dict[str, LayerParity] = field(default_factory=dict)


class Simulation:
    """The float simulation as an executor: its inner tensors are what each FakeQuantize rounds."""

    def __init__(self, sim: SimulatedModel) -> None:
        self.sim = sim

    @property
    def execution(self) -> Execution:
        """Float between quantizers."""
        return "simulated"

    @torch.no_grad()
    def run(self, batch: Arrays) -> Any:
        """Outputs of the simulation, float32; by name where there are several."""
        named = isinstance(batch, Mapping)
        x: Any = tensors_of(batch) if named else torch.from_numpy(batch)
        found = self.sim(x)
        return found.numpy() if isinstance(found, Tensor) else arrays_of(found)

    def inner(self, batch: Arrays) -> tuple[Inner, ...]:
        """The integers that each activation's FakeQuantize stands for."""
        found: list[Inner] = []

        def keep(module: FakeQuantize, args: tuple[Tensor, ...], _: Tensor) -> None:
            q = module.qparams()
            integers = quantize(args[0], q).to(torch.int32).numpy()
            found.append(Inner(integers, float(q.scale), int(q.zero_point)))

        quantizers = [m for m in self.sim.quantizers.values() if m.site.role != "weight"]
        hooks = [module.register_forward_hook(keep) for module in quantizers]
        try:
            self.run(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return tuple(found)


def parity(
    reference: IntegerReference,
    executor: Executor,
    batches: Iterable[Tensor],
    name: str,
    *,
    layers: bool = True,
) -> Parity:
    """Compare an executor with the integer reference on batches of pictures.

    Memory is one batch, whatever their number. Inner tensors belong to a layer if scale, zero point
    and shape are the layer's, in the same order; those of layers that a runtime fuses away are
    left out.

    Args:
        layers: also compare inner tensors, which takes two further passes of the reference.

    Raises:
        InvalidInputError: no pictures, or outputs of another shape.
    """
    count = _Count()
    for x in batches:
        wanted, got = reference(x), torch.from_numpy(np.asarray(executor.run(x.numpy())))
        if wanted.shape != got.shape:
            raise InvalidInputError(
                f"{name} gives outputs {list(got.shape)}, the reference {list(wanted.shape)}: "
                "compare a file with the model that it was exported from"
            )
        count.pictures += len(x)
        count.same += _same(wanted, got)
        if (step := reference.output_step) is not None:
            found = _differences(torch.round(wanted / step), torch.round(got / step))
            count.output = found if count.output is None else count.output + found
        if layers:
            _count_layers(count, reference, executor.inner(x.numpy()), x)
    if not count.pictures:
        raise InvalidInputError("there is nothing to compare: give at least one batch of pictures")
    agreement = 100 * count.same / count.pictures
    found_layers = tuple(count.layers.values())
    return Parity(name, count.pictures, agreement, count.output, found_layers, executor.execution)


def layer_parity(
    reference: IntegerReference, executor: Executor, x: Batch
) -> tuple[LayerParity, ...]:
    """Compare the layers of an executor, if it shows them, with the reference's on one batch."""
    count = _Count()
    _count_layers(count, reference, executor.inner(arrays_of(x)), x)
    return tuple(count.layers.values())


def _same(wanted: Tensor, got: Tensor) -> float:
    """How many pictures get the same class; parts of one where it has a class at each place."""
    if wanted.ndim > 1:
        wanted, got = wanted.argmax(1), got.argmax(1)
    equal = (wanted == got).double()
    return float(equal.reshape(len(equal), -1).mean(dim=1).sum())


def _count_layers(
    count: _Count, reference: IntegerReference, inner: Sequence[Inner] | None, x: Batch
) -> None:
    if inner is None:
        return
    wanted = reference.integers(x)
    given = dict(matched(wanted, inner))
    own = reference.integers(x, given)
    names = layer_names(reference)
    for node, integers in given.items():
        layer = LayerParity(
            *names[node],
            _compare(wanted[node], integers),
            _compare(own[node], integers),
        )
        before = count.layers.get(node)
        if before is not None:
            layer = LayerParity(
                layer.layer,
                layer.op,
                before.cumulative + layer.cumulative,
                before.own + layer.own,
            )
        count.layers[node] = layer


def matched(
    wanted: Mapping[str, Quantized], inner: Sequence[Inner]
) -> Iterator[tuple[str, Tensor]]:
    """Each layer's integers as the runtime computed them, on the reference's zero point.

    An inner tensor is a layer's if shape, scale and zero point are, in the same order.
    """
    place = 0
    for node, reference in wanted.items():
        for index in range(place, len(inner)):
            if _fits(reference, inner[index]):
                centered = torch.from_numpy(inner[index].integers) - inner[index].zero_point
                yield node, centered.to(torch.int32) + reference.grid.zero_point.int()
                place = index + 1
                break


def _fits(reference: Quantized, inner: Inner) -> bool:
    """Same shape and scale, and a zero point that differs at most as int8 from uint8 does."""
    scale = float(reference.grid.scale)
    shift = int(reference.grid.zero_point) - inner.zero_point
    return (
        tuple(reference.integers.shape) == inner.integers.shape
        and abs(inner.scale - scale) <= SAME_SCALE * scale
        and shift in (0, 128, -128)
    )


def layer_names(reference: IntegerReference) -> dict[str, tuple[str, str]]:
    """Layer and operator of each node; each of the network's inputs is a layer of its own."""
    single = len(reference.captured.signature.inputs) == 1
    return {
        node.name: ("input" if single else str(node.target), "quantize")
        if node.op == "placeholder"
        else (layer_of(node), op_name(node))
        for node in reference.module.graph.nodes
    }


def _compare(reference: Quantized, integers: Tensor) -> Differences:
    zero = reference.grid.zero_point
    return _differences(reference.integers - zero, integers - zero)


def _differences(wanted: Tensor, got: Tensor) -> Differences:
    """Both in whole steps, zero in the middle."""
    w, g = wanted.double(), got.double()
    distance = (w - g).abs()
    return Differences(
        values=w.numel(),
        equal=int((distance == 0).sum()),
        largest=int(distance.max()),
        signal=float(w.square().sum()),
        noise=float(distance.square().sum()),
    )
