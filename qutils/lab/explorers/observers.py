"""Explorer of the observers: five ranges for one tensor, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from qutils.evaluate.analysis.compare_observers import ObserverOutcome, compare_observers, explain
from qutils.evaluate.analysis.specimens import SPECIMENS, Specimen
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.material import observation, rows_at
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.observers import ObserversData, ObserversPlot
from qutils.numerics.affine import QParams
from qutils.numerics.observers import OBSERVERS, Rows
from qutils.numerics.schemes import MAX_BITS, MIN_BITS, Scheme

BINS = 160
#: Real activations with something to tell: model, site, and what it looks like.
SITES = (
    ("ResNet-8", "resnet8", "stage1.conv1", "after a ReLU, with a long tail"),
    ("ResNet-8", "resnet8", "stage1.conv2", "two-sided, in front of a residual sum"),
    ("ResNet-8", "resnet8", "stem.0", "the first ReLU: flat cloth and background make spikes"),
    ("ResNet-8", "resnet8", "pool", "few values, each an average"),
    ("MobileNetV2", "mobilenetv2", "blocks.0.depthwise.0", "after a ReLU6, with a peak at 6"),
    ("MobileNetV2", "mobilenetv2", "blocks.3", "a residual sum: a peak and far values"),
    ("ResNet-8", "resnet8", "input", "the pixels: no far values"),
)
#: The tensors that a page without a kernel offers.
ON_PAGES = (
    "ResNet-8: stage1.conv1",
    "ResNet-8: stem.0",
    "made: one outlier",
    "made: far cluster",
)


@dataclass(frozen=True)
class Material:
    """A tensor to choose: its kept values, what is known of it, and its maker if it was made."""

    rows: Rows
    about: str
    specimen: Specimen | None = None


def default_tensors() -> dict[str, Material]:
    """Activations of the shipped networks, and every specimen, by name."""
    real = {
        f"{label}: {site}": Material(rows_at(observation(model), site), about)
        for label, model, site, about in SITES
    }
    made = {
        f"made: {name.replace('_', ' ')}": Material(made.rows(), made.about, made)
        for name, made in SPECIMENS.items()
    }
    return {**real, **made}


class ObserverExplorer(Explorer):
    """One tensor, every observer: the range each picks, the error it pays, and why one wins."""

    title = "Observers"
    ahead = ("tensor", "mapping")

    def __init__(self, tensors: Mapping[str, Material] | None = None) -> None:
        self.tensors = dict(tensors) if tensors is not None else default_tensors()
        names = tuple(self.tensors)
        pages = tuple(name for name in names if name in ON_PAGES) or names
        self.controls = (
            Control("tensor", "Tensor", names, names[0], "menu", texts=names, frames=pages),
            Control("observer", "Observer", tuple(OBSERVERS), next(iter(OBSERVERS)), "menu"),
            Control("bits", "Bits", tuple(range(MIN_BITS, MAX_BITS + 1)), 4, frames=(2, 4, 8)),
            Control("mapping", "Mapping", ("affine", "symmetric"), "affine", "menu"),
        )
        self.plot = ObserversPlot(tuple(OBSERVERS))
        self._outcomes = lru_cache(maxsize=256)(self._compare)

    def compute(self, **setting: Value) -> View:
        """Range, errors and SQNR of every observer; levels of the chosen one."""
        tensor = str(setting["tensor"])
        symmetric = setting["mapping"] == "symmetric"
        outcomes = self._outcomes(tensor, int(setting["bits"]), symmetric)
        by_name = {outcome.observer: outcome for outcome in outcomes}
        chosen = by_name[str(setting["observer"])]
        material = self.tensors[tensor]
        alt = (
            f"Histogram of {tensor} under the {chosen.levels} levels of {_spoken(chosen)}, from "
            f"{chosen.low:.3g} to {chosen.high:.3g}; below it the ranges of all observers; right, "
            f"the errors and the SQNR of each"
        )
        note = f"{explain(outcomes)} ({tensor}: {material.about}.)"
        data = _data(tensor, symmetric, material.rows, outcomes, chosen)
        return View(_facts(chosen, material), note, alt, _table(outcomes), data)

    def _compare(self, tensor: str, bits: int, symmetric: bool) -> tuple[ObserverOutcome, ...]:
        scheme = Scheme(bits, signed=symmetric, symmetric=symmetric)
        return compare_observers(self.tensors[tensor].rows, scheme)


def _facts(chosen: ObserverOutcome, material: Material) -> tuple[Fact, ...]:
    """What the chosen observer makes of the tensor."""
    error = chosen.error
    facts = (
        Fact("scale", "Scale", float(chosen.q.scale), "per step", 4),
        Fact("zero_point", "Zero point", int(chosen.q.zero_point)),
        Fact("clipped", "Clipped values", 100 * error.clipped_share, "%", 3),
        Fact("levels_unused", "Unused levels", chosen.levels_wasted),
        Fact("rounding", "Rounding error, mean square", error.rounding, digits=4),
        Fact("clipping", "Clipping error, mean square", error.clipping, digits=4),
        Fact("sqnr_db", "SQNR", chosen.sqnr_db, "dB"),
    )
    made = material.specimen
    if made is None or made.matters is None:
        return facts
    low, high = made.matters
    label = f"SQNR of the values from {low:g} to {high:g}"
    return (*facts, Fact("sqnr_of_what_matters_db", label, made.sqnr_db(chosen.q), "dB"))


def _table(outcomes: tuple[ObserverOutcome, ...]) -> tuple[tuple[str, ...], ...]:
    """Every observer in one row, in the order of the registry."""
    head = ("observer", "levels", "clipped [%]", "unused levels", "SQNR [dB]")
    rows = (
        (
            _spoken(o),
            f"{o.low:.2f} to {o.high:.2f}",
            f"{100 * o.error.clipped_share:.3f}",
            f"{o.levels_wasted} of {o.levels}",
            f"{o.sqnr_db:.2f}",
        )
        for o in outcomes
    )
    return (head, *rows)


def _spoken(outcome: ObserverOutcome) -> str:
    return outcome.observer.replace("_", " ")


def _data(
    tensor: str,
    symmetric: bool,
    rows: Rows,
    outcomes: tuple[ObserverOutcome, ...],
    chosen: ObserverOutcome,
) -> ObserversData:
    heights, edges = np.histogram(rows.values[0], bins=BINS, weights=rows.counts[0])
    percent = np.array([100 / o.error.signal if o.error.signal else 0.0 for o in outcomes])
    return ObserversData(
        tensor=tensor,
        symmetric=symmetric,
        edges=edges.astype(float),
        counts=heights.astype(float),
        observers=tuple(o.observer for o in outcomes),
        low=np.array([o.low for o in outcomes]),
        high=np.array([o.high for o in outcomes]),
        rounding=percent * np.array([o.error.rounding for o in outcomes]),
        clipping=percent * np.array([o.error.clipping for o in outcomes]),
        sqnr_db=np.array([o.sqnr_db for o in outcomes]),
        chosen=chosen.observer,
        levels=levels_of(chosen.q),
    )


def levels_of(q: QParams) -> NDArray[np.float64]:
    """The real values of a tensor's integers, ``[qmax - qmin + 1]``, per tensor."""
    levels = (torch.arange(q.qmin, q.qmax + 1) - q.zero_point) * q.scale
    return levels.double().numpy()
