"""How close a quantized model comes to its float model, and the lines that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from qutils.backends import BACKENDS, readers_of
from qutils.cli.commands.inputs import Inputs
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import decibels
from qutils.evaluate.bench.accuracy import Accuracy, Predict, wilson
from qutils.evaluate.bench.size import Size
from qutils.graph.capture import parameters_of
from qutils.graph.nodes import float_inputs, made_by, read_by
from qutils.graph.pair_sums import can_overflow
from qutils.quantize.simulate import SimulatedModel

#: The ways of execution that are compared; the first is the reference.
FLOAT, SIMULATED, INTEGER = "float", "simulated", "integer"
Outputs = NDArray[Any]
_NAMED = 4  # frozen parameters that a line names

#: Below this SQNR [dB] outputs differ by a third of their size.
LITTLE_DB = 10.0


@dataclass
class Fidelity:
    """Sums over batches of one model's outputs ``[B, ...]`` beside a reference's."""

    signal: float = 0.0
    noise: float = 0.0
    same: int = 0  # equal classes
    n: int = 0

    def add(self, reference: Outputs, outputs: Outputs, samples: int | None = None) -> None:
        """Count one batch; ``samples`` if they are not along the first axis."""
        exact = reference.astype(np.float64)
        self.signal += float((exact**2).sum())
        self.noise += float(((exact - outputs) ** 2).sum())
        if reference.ndim == 2:
            self.same += int((reference.argmax(1) == outputs.argmax(1)).sum())
        self.n += len(reference) if samples is None else samples

    @property
    def sqnr_db(self) -> float:
        """``10 log10(sum reference^2 / sum (reference - outputs)^2)`` [dB]; inf if equal."""
        return decibels(self.signal, self.noise)

    @property
    def agreement(self) -> float:
        """Percent of inputs with the same predicted class."""
        return 100 * self.same / self.n


@dataclass
class Scores:
    """Models on the same inputs, by way of execution."""

    n: int = 0
    classified: bool = True  # outputs are [N, classes]
    hits: dict[str, int] = field(default_factory=dict)  # empty without labels
    pairs: dict[tuple[str, str], Fidelity] = field(default_factory=dict)
    parts: dict[str, Scores] = field(default_factory=dict)  # of several outputs, by name

    def add(
        self, outputs: Mapping[str, Outputs], labels: Outputs | None, samples: int | None = None
    ) -> None:
        """Count one batch of every model's outputs.

        Args:
            samples: how many they are, where they are not along the first axis.

        Raises:
            InvalidInputError: NaN in the outputs.
        """
        if any(isinstance(values, Mapping) for values in outputs.values()):
            self._add_parts(outputs, samples)
            return
        for name, values in outputs.items():
            if np.isnan(values).any():
                raise InvalidInputError(f"the {name} model's outputs hold NaN: look at its weights")
            self.classified = self.classified and values.ndim == 2
            if labels is not None and values.ndim == 2:
                self.hits[name] = self.hits.get(name, 0) + int((values.argmax(1) == labels).sum())
        for a, b in combinations(outputs, 2):
            self.pairs.setdefault((a, b), Fidelity()).add(outputs[a], outputs[b], samples)
        self.n += len(next(iter(outputs.values()))) if samples is None else samples

    def _add_parts(self, outputs: Mapping[str, Any], samples: int | None) -> None:
        """Count one batch of several outputs, each by itself; classes are not told of them.

        They go by their places: a state that the network calls as its input is ``state_out``
        in the file.
        """
        first = next(iter(outputs.values()))
        for place, part in enumerate(first):
            scores = self.parts.setdefault(part, Scores())
            named = {name: [*values.values()][place] for name, values in outputs.items()}
            scores.add(named, None, samples)
        self.n += len(next(iter(first.values()))) if samples is None else samples

    def accuracy(self, name: str) -> Accuracy | None:
        """Top-1 of a model; None without labels or classes."""
        if name not in self.hits:
            return None
        hits = self.hits[name]
        return Accuracy(100 * hits / self.n, self.n, wilson(hits, self.n))


def score(models: Mapping[str, Predict], inputs: Inputs) -> Scores:
    """Run every model on the inputs once; memory is one batch, whatever their number."""
    scores = Scores()
    with tqdm(total=len(inputs), desc="scoring", unit=" inputs", disable=len(inputs) == 0) as bar:
        for x, y in inputs.batches():
            outputs = {name: predict(x.numpy()) for name, predict in models.items()}
            scores.add(outputs, None if y is None else y.numpy(), len(x))
            bar.update(len(x))
    return scores


def score_lines(scores: Scores, label: str, runtime: str) -> list[str]:
    """Accuracy, SQNR and agreement in words; every figure says how it was executed."""
    if scores.n == 0:
        return ["Not scored: give at least 5 inputs, so that some can be held back."]
    titles = {
        FLOAT: "FP32, float (torch)",
        SIMULATED: f"{label}, simulated (torch)",
        INTEGER: f"{label}, integer ({runtime})",
    }
    lines = [
        f"top-1 of {title}: {accuracy}"
        for name, title in titles.items()
        if (accuracy := scores.accuracy(name)) is not None
    ]
    lines += [
        f"SQNR of {what}, {a} to {b}: {pair.sqnr_db:.1f} dB (n = {pair.n:,})"
        for what, each in (scores.parts or {"the outputs": scores}).items()
        for (a, b), pair in each.pairs.items()
    ]
    lines += _warnings(scores)
    if scores.classified and not scores.parts:
        lines += [
            f"same prediction, {a} and {b}: {pair.agreement:.2f} % (n = {pair.n:,})"
            for (a, b), pair in scores.pairs.items()
        ]
    return lines


def fidelities(scores: Scores) -> dict[str, tuple[Fidelity, Fidelity]]:
    """Return, by output, the simulation beside the float network and the file beside it.

    The only output goes by an empty name; there is nothing without inputs to score.
    """
    wanted, delivered = (FLOAT, SIMULATED), (SIMULATED, INTEGER)
    return {
        output: (each.pairs[wanted], each.pairs[delivered])
        for output, each in (scores.parts or {"": scores}).items()
        if wanted in each.pairs and delivered in each.pairs
    }


def _warnings(scores: Scores) -> list[str]:
    """Say of which outputs rounding leaves little."""
    low = [
        f"{what} ({pair.sqnr_db:.1f} dB)"
        for what, each in (scores.parts or {"the outputs": scores}).items()
        for (a, b), pair in each.pairs.items()
        if (a, b) == (FLOAT, SIMULATED) and pair.sqnr_db < LITTLE_DB
    ]
    if not low:
        return []
    return [
        f"Warning: rounding leaves little of {', '.join(low)}. Is --data prepared as in training, "
        "and are there enough inputs for the ranges? Otherwise try --observer mse, or more bits."
    ]


def size_lines(before: Size, after: Size) -> list[str]:
    """Bytes of the FP32 and the INT8 file, and of their weights."""
    return [file_line(before.file_bytes, after.file_bytes), *weight_lines(after)]


def weight_lines(after: Size) -> list[str]:
    """Bytes of the weights of a file and of the same in float32; none of a file without weights."""
    if not after.weight_count:
        return []
    return [
        f"weights: FP32 {after.float_weight_bytes:,} bytes, INT8 {after.weight_bytes:,} bytes "
        f"({after.weight_ratio:.3f})"
    ]


def file_line(before: int, after: int, files: tuple[Path, Path] | None = None) -> str:
    """Bytes of the FP32 and the INT8 file; ``files`` of two formats are named by their endings.

    >>> file_line(312_000, 92_000, (Path("a.onnx"), Path("a.tflite")))
    'file: FP32 (.onnx) 312,000 bytes, INT8 (.tflite) 92,000 bytes (0.295)'
    """
    ratio = after / before
    gain = "" if ratio < 1 else ": larger than before, as most stayed in float or has few weights"
    fp32, int8 = ("", "") if files is None else (f" ({file.suffix})" for file in files)
    return f"file: FP32{fp32} {before:,} bytes, INT8{int8} {after:,} bytes ({ratio:.3f}){gain}"


def float_lines(sim: SimulatedModel) -> list[str]:
    """Say which operators stay in float, why, and how many weights they hold."""
    nodes = [n for n in sim.captured.module.graph.nodes if n.name in sim.placement.float_nodes]
    kept = [made_by(node) for node in nodes if float_inputs(made_by(node))]
    if not kept:
        return []
    inside, total = (
        sum(tensor.numel() for tensor in tensors.values())
        for tensors in (read_by(sim.captured.module, kept), parameters_of(sim.captured.module))
    )
    lines = sim.coverage.sentences()
    if inside:
        lines.append(
            f"Operators in float hold {inside:,} of {total:,} weights and biases "
            f"({inside / total:.0%})."
        )
    if sim.coverage.warning:
        lines.append(f"Warning: {sim.coverage.warning}")
    return lines


def saturation_lines(sim: SimulatedModel) -> list[str]:
    """Say whether CPUs without VNNI compute something else, and what limits the weights if not."""
    record = sim.target.pair_sums
    if not record.can_saturate:
        return []
    if not can_overflow(sim.recipe.weights):
        return ["x86 without VNNI: the same results; weights of so few bits cannot overflow"]
    if sim.recipe.saturation_safe:
        return [
            "x86 without VNNI: the same results; weights are scaled so that no pair of products "
            "overflows 16 bits (--no-saturation-safe keeps the whole range)"
        ]
    remedy = record.switch or "--saturation-safe limits the weights"
    return [f"x86 without VNNI: {record.kernels} saturates, and computes otherwise ({remedy})"]


def frozen_lines(sim: SimulatedModel) -> list[str]:
    """What QAT left alone, as the model's owner froze it."""
    frozen = sim.captured.frozen
    if not frozen:
        return []
    named = ", ".join(frozen[:_NAMED]) + ", ..." * (len(frozen) > _NAMED)
    total = len(list(sim.captured.module.parameters()))
    return [
        f"frozen in QAT (requires_grad=False): {len(frozen)} of {total} weights and biases, {named}"
    ]


def run_lines(path: Path, target: str) -> list[str]:
    """How to run the file so that it computes what was scored."""
    named = "" if target == readers_of(path)[0] else f", {target!r}"
    lines = [f"Run it: qutils.runtimes.load({str(path)!r}{named}).run(batch)"]
    return lines + [hint.replace("{path}", str(path)) for hint in BACKENDS[target].hints]
