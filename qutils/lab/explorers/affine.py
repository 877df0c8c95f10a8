"""Explorer of the affine mapping: bits, symmetry and range of one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch

from qutils.evaluate.analysis import ErrorSplit
from qutils.evaluate.analysis.clipping import ClippingSweep, clipping_sweep
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.material import observation, rows_at
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.affine import AffineData, AffinePlot
from qutils.numerics import affine
from qutils.numerics.observers.rows import Rows, rows_of
from qutils.numerics.schemes import MAX_BITS, MIN_BITS, Scheme

#: Ranges that can be tried, as percent of the tensor's own.
REACH = tuple(range(10, 105, 5))
BINS = 160


def default_tensors() -> dict[str, Rows]:
    """A trained filter bank, a ReLU's output, and a bell curve with one far outlier."""
    kept = observation("resnet8")
    generator = torch.Generator().manual_seed(0)
    bell = torch.randn(4_000, generator=generator)
    bell[0] = 12.0
    return {
        "ResNet-8: weight of stage1.conv2": rows_at(kept, "stage1.conv2.weight"),
        "ResNet-8: output of stage1.conv1": rows_at(kept, "stage1.conv1"),
        "bell curve with one outlier": rows_of(bell),
    }


class AffineExplorer(Explorer):
    """One tensor on the number line: choose bits, mapping and range; see what each value pays."""

    title = "The affine mapping"
    ahead = ("tensor",)

    def __init__(self, tensors: Mapping[str, Rows] | None = None) -> None:
        self.tensors = dict(tensors) if tensors is not None else default_tensors()
        names = tuple(self.tensors)
        self.controls = (
            Control("tensor", "Tensor", names, names[0], "menu", texts=names),
            Control(
                "bits", "Bits", tuple(range(MIN_BITS, MAX_BITS + 1)), 4, frames=(2, 3, 4, 6, 8)
            ),
            Control("mapping", "Mapping", ("affine", "symmetric"), "affine", "menu"),
            Control(
                "reach", "Range", REACH, 100,
                texts=tuple(f"{r} %" for r in REACH), frames=(20, 40, 60, 80, 100),
            ),
        )  # fmt: skip
        self.plot = AffinePlot()
        self._sweep = lru_cache(maxsize=64)(self._sweep_of)

    def compute(self, **setting: Value) -> View:
        """Scale, zero point, errors and SQNR of a setting."""
        rows = self.tensors[str(setting["tensor"])]
        symmetric = setting["mapping"] == "symmetric"
        scheme = Scheme(int(setting["bits"]), signed=symmetric, symmetric=symmetric)
        fraction = int(setting["reach"]) / 100
        q = affine.qparams(fraction * rows.low[0], fraction * rows.high[0], scheme)
        sweep = self._sweep(str(setting["tensor"]), scheme)
        at = REACH.index(int(setting["reach"]))
        error = sweep.splits[at]
        levels = ((torch.arange(q.qmin, q.qmax + 1) - q.zero_point) * q.scale).double().numpy()
        facts = (
            Fact("scale", "Scale", float(q.scale), "per step", 4),
            Fact("zero_point", "Zero point", int(q.zero_point)),
            Fact("low", "Lowest level", float(levels[0]), digits=3),
            Fact("high", "Highest level", float(levels[-1]), digits=3),
            Fact("clipped", "Clipped values", 100 * error.clipped_share, "%"),
            Fact("clipping_share", "Clipping's share of the error",
                 100 * error.clipping / max(error.total, 1e-30), "%", 0),
            Fact("sqnr_db", "SQNR", error.sqnr_db, "dB"),
        )  # fmt: skip
        note = _note(error, fraction, sweep)
        alt = (
            f"Histogram of {setting['tensor']} under {len(levels)} levels from {levels[0]:.3g} to "
            f"{levels[-1]:.3g}; below it the error of each value; right, rounding and clipping "
            f"error against the range used"
        )
        return View(facts, note, alt, data=_data(str(setting["tensor"]), rows, q, sweep, fraction))

    def _sweep_of(self, tensor: str, scheme: Scheme) -> ClippingSweep:
        return clipping_sweep(self.tensors[tensor], scheme, [r / 100 for r in REACH])


def _note(here: ErrorSplit, fraction: float, sweep: ClippingSweep) -> str:
    """Where the least error lies, and what going there would change."""
    best = f"The least error lies at {100 * sweep.best:.0f} % of the range."
    if abs(sweep.best - fraction) < 0.01:
        return f"{best} That is where you are."
    there = sweep.splits[sweep.fractions.index(sweep.best)]
    clips_less = here.clipping - there.clipping > here.rounding - there.rounding
    if clips_less and sweep.best > fraction:
        return f"{best} Reach further: what that saves in clipping is more than coarser steps cost."
    if not clips_less and sweep.best < fraction:
        return f"{best} Reach less far: finer steps save more than clipping then costs."
    return f"{best} Its levels happen to fall closer to these values than those here."


def _data(
    tensor: str, rows: Rows, q: affine.QParams, sweep: ClippingSweep, fraction: float
) -> AffineData:
    values, counts = rows.values[0].numpy(), rows.counts[0].numpy()
    heights, edges = np.histogram(values, bins=BINS, weights=counts)
    levels = (torch.arange(q.qmin, q.qmax + 1) - q.zero_point) * q.scale
    x = torch.linspace(min(float(edges[0]), float(levels[0])), float(edges[-1]), 1500)
    return AffineData(
        tensor=tensor,
        edges=edges.astype(float),
        counts=heights.astype(float),
        levels=levels.double().numpy(),
        integers=(q.qmin, int(q.zero_point), q.qmax),
        x=x.double().numpy(),
        error=(affine.fake_quantize(x, q) - x).double().numpy(),
        fractions=np.array(sweep.fractions),
        rounding=sweep.rounding,
        clipping=sweep.clipping,
        fraction=fraction,
    )
