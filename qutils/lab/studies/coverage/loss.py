"""The layer at which a simulated network loses most of its signal."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from qutils.evaluate.analysis.layers import compare_layers, float_activations
from qutils.graph.signature import Batch
from qutils.quantize.simulate import SimulatedModel

_SAMPLES = 8


def steepest(sim: SimulatedModel, samples: Batch) -> str:
    """Return where SQNR falls most from one quantized activation to the next, with the figures."""
    few: Batch
    if isinstance(samples, Tensor):
        few = samples[:_SAMPLES]
    else:
        specs = {spec.name: spec for spec in sim.captured.signature.inputs}
        few = {name: _first(x, specs[name].batch_axis) for name, x in samples.items()}
    found = compare_layers(float_activations(sim.captured, sim.placement, few), sim).layers
    if len(found) < 2:
        return ""
    before, after = min(pairwise(found), key=lambda pair: pair[1].sqnr_db - pair[0].sqnr_db)
    return f"{after.layer} ({before.sqnr_db:.1f} to {after.sqnr_db:.1f} dB)"


def _first(x: Tensor, axis: int | None) -> Tensor:
    return x if axis is None else x.narrow(axis, 0, min(_SAMPLES, x.shape[axis]))
