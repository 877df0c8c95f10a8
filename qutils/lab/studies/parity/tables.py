"""What was compared as data frames with units, for the figure and for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from qutils.evaluate.analysis.departures import REFERENCE
from qutils.evaluate.analysis.parity import LayerParity
from qutils.lab.studies.parity.runs import Figures


def layers(found: Sequence[Figures]) -> pd.DataFrame:
    """A row for each model, executor and layer; shares that differ in percent.

    ``place`` is the layer's in the network, the same whichever layers an executor tells of.
    """
    return pd.DataFrame(
        [
            {
                "model": figures.model,
                "executor": figures.parity.name,
                "place": order.index((layer.layer, layer.op)),
                "layer": layer.layer,
                "op": layer.op,
                "differs": 100 - layer.cumulative.share,
                "own_differs": 100 - layer.own.share,
                "values": layer.cumulative.values,
            }
            for model, order in _orders(found).items()
            for figures in found
            if figures.model == model
            for layer in figures.parity.layers
        ]
    )


def _orders(found: Sequence[Figures]) -> dict[str, list[tuple[str, str]]]:
    """Layers of each model in order: those of the executor that tells most, then any others."""
    orders: dict[str, list[tuple[str, str]]] = {figures.model: [] for figures in found}
    for figures in sorted(found, key=lambda f: -len(f.parity.layers)):
        known = orders[figures.model]
        names = [(layer.layer, layer.op) for layer in figures.parity.layers]
        known += [name for name in names if name not in known]
    return orders


def output_table(found: Sequence[Figures]) -> pd.DataFrame:
    """The output and the predictions of every executor beside the reference's."""
    return pd.DataFrame([_output(figures) for figures in found])


def _output(figures: Figures) -> dict[str, object]:
    got = figures.parity
    output = got.output
    return {
        "model": figures.model,
        "executor": got.name,
        "execution": got.execution,
        "same prediction [%]": round(got.agreement, 3),
        "pictures": got.pictures,
        "equal outputs [%]": "" if output is None else f"{output.share:.3f}",
        "largest difference [steps]": "" if output is None else output.largest,
        "SQNR [dB]": "" if output is None else _decibels(output.sqnr_db),
        "layers that depart": f"{len(got.departing)} of {len(got.layers)}"
        if got.layers
        else "not told",
    }


def layer_table(figures: Figures) -> pd.DataFrame:
    """Every layer of one executor, in order of execution."""
    return pd.DataFrame([_layer(layer) for layer in figures.parity.layers])


def _layer(layer: LayerParity) -> dict[str, object]:
    return {
        "layer": layer.layer,
        "operator": layer.op,
        "equal, itself [%]": f"{layer.own.share:.4f}",
        "largest, itself [LSB]": layer.own.largest,
        "equal, from the picture on [%]": f"{layer.cumulative.share:.4f}",
        "largest, from the picture on [LSB]": layer.cumulative.largest,
        "SQNR [dB]": _decibels(layer.cumulative.sqnr_db),
    }


def reason_table(found: Sequence[Figures]) -> pd.DataFrame:
    """Layers with weights that depart: which rule of rounding gives most of their integers."""
    return pd.DataFrame(
        [
            {
                "model": figures.model,
                "executor": figures.parity.name,
                "layer": why.layer,
                "integers": why.values,
                "unlike the reference's": why.values - why.equal[REFERENCE],
                "furthest of them from a tie [steps]": f"{why.from_tie:.1e}",
                "rule that gives most": why.best,
                "unlike that rule's": why.values - why.equal[why.best],
            }
            for figures in found
            for why in figures.departures
            if why.from_tie is not None
        ]
    )


def kernel_table(found: Sequence[Figures]) -> pd.DataFrame:
    """Operators that executed, as each runtime tells them."""
    return pd.DataFrame(
        [
            {
                "model": figures.model,
                "runtime": figures.parity.name,
                "executed": ", ".join(f"{count} {name}" for name, count in figures.kernels),
            }
            for figures in found
            if figures.kernels
        ]
    )


def _decibels(value: float) -> str:
    return "no error" if math.isinf(value) else f"{value:.1f}"
