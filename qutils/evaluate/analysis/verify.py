"""Verify a written file: run it beside the simulation, and name the first layer that differs.

Two executions that differ in the last bit of a float round some values to another integer, and
every quantizer after that spreads it. A small difference at the output is therefore no fault; a
layer that computes otherwise **from the same inputs** is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.parity import Executor, LayerParity, layer_parity, matched
from qutils.evaluate.analysis.sqnr import decibels
from qutils.graph.signature import Batch, arrays_of, named_outputs, tensors_of
from qutils.integer import IntegerReference
from qutils.quantize.simulate import SimulatedModel

#: The file may differ from the simulation by this much less than quantization costs [dB].
MARGIN_DB = 10.0
#: Two float32 executions of one network may differ by this [dB], whatever is quantized.
FLOAT_DB = 100.0
#: A layer differs if its integers do in more places than this [percent], or by more than one step.
SHARE = 2.0


@dataclass(frozen=True)
class Verification:
    """A file beside the simulation it was exported from, on ``samples`` samples.

    ``quantization_db`` is the SQNR of the simulation against the float network, ``file_db`` that of
    the file against the simulation, both of the same output: of several, the one with the least
    margin between them, which ``output`` names. ``first`` is the first diverging layer, if a layer
    differs by itself and the runtime shows its layers.
    """

    name: str
    samples: int
    quantization_db: float
    file_db: float
    first: LayerParity | None = None
    layers: int = 0  # that were compared
    ending_db: float | None = None  # of the outputs, from the file's own last integers
    output: str = ""  # of several

    @property
    def passed(self) -> bool:
        """Whether the file's difference is at least 10 dB below the quantization error."""
        return self.margin_db >= MARGIN_DB

    @property
    def margin_db(self) -> float:
        """How far the file's difference is below the quantization error [dB]; inf if exact.

        Where nothing is quantized, or hardly anything, float32's own resolution takes its place.
        """
        if self.file_db == math.inf:
            return math.inf
        if math.isnan(self.file_db):  # an output of NaN
            return -math.inf
        return self.file_db - min(self.quantization_db, FLOAT_DB - MARGIN_DB)

    def __str__(self) -> str:
        of_output = f" of {self.output}" if self.output else ""
        measured = (
            f"file and simulation: {self.file_db:.1f} dB{of_output} on {self.samples:,} samples "
            f"({self.name}); float and simulation: {self.quantization_db:.1f} dB."
        )
        if self.first is not None:
            own = self.first.own
            return (
                f"First diverging layer: {self.first.layer} ({self.first.op}), "
                f"{100 - own.share:.2f} % of its values differ, by up to {own.largest} steps; "
                f"{measured}"
            )
        if self.passed:
            return f"The file computes what was simulated; {measured}"
        if not self.layers:
            return f"The file differs, and this runtime shows no layers to compare; {measured}"
        if self.ending_db is not None and self.ending_db < self.quantization_db + MARGIN_DB:
            return f"What follows the last quantized layer differs; {measured}"
        return f"No layer differs by itself, differences in rounding add up; {measured}"


@torch.no_grad()
def verify(sim: SimulatedModel, executor: Executor, x: Batch, name: str = "file") -> Verification:
    """Run a file on a few samples and compare it with the simulation.

    Layers are compared one by one only if the outputs differ by more than 10 dB below the
    quantization error.

    Args:
        executor: ``qutils.backends.runtimes.load(file)``.
        x: samples ``[N, ...]``, or tensors by input name; calibration data for instance.

    Raises:
        InvalidInputError: no samples, or outputs of another shape.

    >>> from qutils.evaluate.analysis.parity import Simulation
    >>> from qutils.quantize.calibration import calibrate
    >>> x = torch.rand(8, 4)
    >>> sim = calibrate(torch.nn.Sequential(torch.nn.Linear(4, 2)), x)
    >>> verify(sim, Simulation(sim), x).passed
    True
    """
    signature = sim.captured.signature
    given = signature.arguments(x)
    if not (samples := signature.samples(given)):
        raise InvalidInputError("There is nothing to compare. Give at least one sample.")
    simulated, got = named_outputs(sim(x)), tensors_of(executor.run(arrays_of(x)))
    wanted = named_outputs(signature.pack(sim.captured.module(*given)))
    _check_shapes(got, simulated, name)
    several = len(simulated) > 1
    measured = (
        Verification(name, samples, _db(*one), _db(*two), output=output if several else "")
        for output, one, two in zip(
            simulated,
            zip(wanted.values(), simulated.values(), strict=True),
            zip(simulated.values(), got.values(), strict=True),
            strict=True,
        )
    )
    found = min(measured, key=lambda one: one.margin_db)
    return found if found.passed else diagnosed(found, sim, executor, x)


@torch.no_grad()
def diagnosed(
    found: Verification, sim: SimulatedModel, executor: Executor, x: Batch
) -> Verification:
    """Return a verification with the first layer that differs by itself on samples ``x``."""
    got = tensors_of(executor.run(arrays_of(x)))
    reference = IntegerReference(sim)
    layers = layer_parity(reference, executor, x)
    first = next((layer for layer in layers if _differs(layer)), None)
    own_db = None
    if layers and first is None:
        own = dict(matched(reference.integers(x), executor.inner(arrays_of(x)) or ()))
        own_db = _worst(named_outputs(reference.outputs_from(x, own)), got)
    return replace(found, first=first, layers=len(layers), ending_db=own_db)


def _check_shapes(got: dict[str, Tensor], simulated: dict[str, Tensor], name: str) -> None:
    shapes, wanted = ([list(y.shape) for y in each.values()] for each in (got, simulated))
    if shapes != wanted:
        raise InvalidInputError(
            f"{name} returns {', '.join(map(str, shapes))}, the simulation "
            f"{', '.join(map(str, wanted))}. Compare a file with the model it was exported from."
        )


def _worst(wanted: dict[str, Tensor], got: dict[str, Tensor]) -> float:
    """The lowest SQNR of the outputs [dB]."""
    return min(_db(a, b) for a, b in zip(wanted.values(), got.values(), strict=True))


def _differs(layer: LayerParity) -> bool:
    return 100 - layer.own.share > SHARE or layer.own.largest > 1


def _db(wanted: Tensor, got: Tensor) -> float:
    exact = wanted.double()
    return decibels(float(exact.square().sum()), float((exact - got).square().sum()))
