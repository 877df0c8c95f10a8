"""Rows of ``results.json``, and the headline figures with what they have to reach."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qutils import zoo
from qutils.evaluate.analysis.parity import LayerParity, Parity
from qutils.lab.results.headlines import TRIAL
from qutils.lab.results.results import Check, Row
from qutils.lab.studies.parity.plan import SIMULATION
from qutils.lab.studies.parity.runs import Figures

COMMAND = "qutils run notebooks/reports/parity.ipynb -p profile full"
#: Share of equal predictions [%] that a runtime, and that the simulation, has to reach.
RUNTIME_AGREES, SIMULATION_AGREES = 99.9, 99.99
#: The runtime that the reference copies operation by operation.
EXACT = "onnxruntime"
#: So many layers are named in a note.
SPOKEN = 4


def rows(found: Sequence[Figures]) -> list[Row]:
    """One row for each model and executor: what share is equal, and how far apart the rest."""
    return [_row(figures) for figures in found]


def _row(figures: Figures) -> Row:
    got, simulated = figures.parity, figures.parity.name == SIMULATION
    metrics: dict[str, float | None] = {
        "pictures": got.pictures,
        "agreement_percent": got.agreement,
        "layers_compared": len(got.layers) or None,
        "layers_departing": len(got.departing) if got.layers else None,
    }
    if got.output is not None:
        metrics["output_equal_percent"] = got.output.share
        metrics["output_largest_steps"] = got.output.largest
        decibels = got.output.sqnr_db
        metrics["output_sqnr_db"] = decibels if math.isfinite(decibels) else None  # inf: no noise
    return Row(
        model=figures.model,
        dataset=zoo.entry(figures.model).dataset,
        method="ptq",
        weight_bits=8,
        activation_bits=8,
        observer="minmax",
        granularity="per_channel",
        seed=None,
        execution=got.execution,
        runtime="torch" if simulated else got.name,
        metrics=metrics,
    )


def checks(found: Sequence[Figures], profile: str) -> list[Check]:
    """Equal predictions of every executor; equal integers of the runtime that should be exact."""
    made = [check for figures in found for check in _checks(figures)]
    return [check.unjudged() if profile == TRIAL else check for check in made]


def _checks(figures: Figures) -> Iterator[Check]:
    got, simulated = figures.parity, figures.parity.name == SIMULATION
    yield Check(
        f"{figures.model}: {got.name}, same prediction as the integer reference",
        got.agreement,
        f"% of {got.pictures:,} pictures",
        SIMULATION_AGREES if simulated else RUNTIME_AGREES,
        ">=",
        COMMAND,
        departures(got),
        got.execution,
    )
    if got.name == EXACT and got.output is not None:
        yield Check(
            f"{figures.model}: {got.name}, outputs equal to the integer reference's",
            got.output.share,
            f"% of {got.output.values:,} values",
            100.0,
            ">=",
            COMMAND,
            f"largest difference {got.output.largest} steps",
            got.execution,
        )


def departures(got: Parity) -> str:
    """Which layers themselves compute otherwise, by operator, in words."""
    if not got.layers:
        return "hands no inner tensors out"
    if not got.departing:
        return f"all {len(got.layers)} layers equal in every integer"
    worst = sorted(got.departing, key=lambda layer: layer.own.share)[:SPOKEN]
    more = len(got.departing) - len(worst)
    verb = "departs" if len(got.departing) == 1 else "depart"
    return (
        f"{len(got.departing)} of {len(got.layers)} layers {verb}: "
        + ", ".join(_spoken(layer) for layer in worst)
        + (f" and {more} more" if more else "")
    )


def _spoken(layer: LayerParity) -> str:
    unlike = layer.own.values - layer.own.equal
    return f"{layer.layer} ({layer.op}, {unlike:,} of {layer.own.values:,} integers)"
