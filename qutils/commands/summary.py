"""How close a quantized model comes to its float model, and the lines that say so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from qutils.bench.accuracy import Accuracy, Predict, wilson
from qutils.bench.size import Size
from qutils.commands.inputs import Inputs
from qutils.errors import InvalidInputError

#: The ways of execution that are compared; the first is the reference.
FLOAT, SIMULATED, INTEGER = "float", "simulated", "integer"
Outputs = NDArray[Any]


@dataclass
class Fidelity:
    """Sums over batches of one model's outputs ``[B, ...]`` beside a reference's."""

    signal: float = 0.0
    noise: float = 0.0
    same: int = 0  # equal classes
    n: int = 0

    def add(self, reference: Outputs, outputs: Outputs) -> None:
        """Count one batch."""
        exact = reference.astype(np.float64)
        self.signal += float((exact**2).sum())
        self.noise += float(((exact - outputs) ** 2).sum())
        if reference.ndim == 2:
            self.same += int((reference.argmax(1) == outputs.argmax(1)).sum())
        self.n += len(reference)

    @property
    def sqnr_db(self) -> float:
        """``10 log10(sum reference^2 / sum (reference - outputs)^2)`` [dB]; inf if equal."""
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

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

    def add(self, outputs: Mapping[str, Outputs], labels: Outputs | None) -> None:
        """Count one batch of every model's outputs.

        Raises:
            InvalidInputError: NaN in the outputs.
        """
        for name, values in outputs.items():
            if np.isnan(values).any():
                raise InvalidInputError(f"the {name} model's outputs hold NaN: look at its weights")
            self.classified = self.classified and values.ndim == 2
            if labels is not None and values.ndim == 2:
                self.hits[name] = self.hits.get(name, 0) + int((values.argmax(1) == labels).sum())
        for a, b in combinations(outputs, 2):
            self.pairs.setdefault((a, b), Fidelity()).add(outputs[a], outputs[b])
        self.n += len(next(iter(outputs.values())))

    def accuracy(self, name: str) -> Accuracy | None:
        """Top-1 of a model; None without labels or classes."""
        if name not in self.hits:
            return None
        hits = self.hits[name]
        return Accuracy(100 * hits / self.n, self.n, wilson(hits, self.n))


def score(models: Mapping[str, Predict], inputs: Inputs) -> Scores:
    """Run every model on the inputs once; memory is one batch, whatever their number."""
    scores = Scores()
    with tqdm(total=len(inputs), desc="scoring", unit="input") as bar:
        for x, y in inputs.batches():
            outputs = {name: predict(x.numpy()) for name, predict in models.items()}
            scores.add(outputs, None if y is None else y.numpy())
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
        f"SQNR of the outputs, {a} to {b}: {pair.sqnr_db:.1f} dB (n = {pair.n:,})"
        for (a, b), pair in scores.pairs.items()
    ]
    if scores.classified:
        lines += [
            f"same prediction, {a} and {b}: {pair.agreement:.2f} % (n = {pair.n:,})"
            for (a, b), pair in scores.pairs.items()
        ]
    return lines


def size_lines(before: Size, after: Size) -> list[str]:
    """Bytes of the FP32 and the INT8 file, and of their weights."""
    ratio = after.file_bytes / before.file_bytes
    return [
        f"file: FP32 {before.file_bytes:,} bytes, INT8 {after.file_bytes:,} bytes ({ratio:.3f})",
        f"weights: FP32 {after.float_weight_bytes:,} bytes, INT8 {after.weight_bytes:,} bytes "
        f"({after.weight_ratio:.3f})",
    ]
