"""Calibration sets compared: their size, their pictures, their batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.lab.figures import marks
from qutils.lab.figures.rows import checked, span
from qutils.lab.figures.theme import BLUE, REFERENCE, observer_color, themed

_QUANTITIES = (("sqnr_db", "SQNR of logits [dB]"), ("top1", "top-1 accuracy [%]"))


@themed
def calibration_curves(
    df: pd.DataFrame,
    fp32: float | None = None,
    x: str = "pictures",
    xlabel: str = "calibration pictures (log)",
) -> Figure:
    """SQNR of the logits [dB] and top-1 [%] by ``x``: a column for each number of activation bits.

    Columns: ``activation_bits observer draw sqnr_db top1`` and ``x``. Lines are means over draws,
    bands reach from the lowest draw to the highest. ``fp32`` is the float network's top-1 [%];
    without it only the SQNR is drawn.

    Raises:
        InvalidInputError: columns missing, no rows, an observer without colour.
    """
    checked(df, ("activation_bits", "observer", "draw", "sqnr_db", "top1", x))
    quantities = _QUANTITIES[: 1 if fp32 is None else 2]
    bits = sorted(df["activation_bits"].unique(), reverse=True)
    size = (max(6.0, 1.2 + 3.5 * len(bits)), 1.2 + 2.0 * len(quantities))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(quantities), len(bits), squeeze=False, sharex=True, sharey="row")
    for column, b in zip(grid.T, bits, strict=True):
        for axes, (quantity, _) in zip(column, quantities, strict=True):
            for observer, rows in df[df["activation_bits"] == b].groupby("observer", sort=False):
                _band(axes, rows.groupby(x)[quantity], observer_color(str(observer)))
        column[0].set_title(f"{b}-bit activations")
        _powers_of_two(column[-1], sorted(df[x].unique()), xlabel)
        if fp32 is not None:
            column[1].axhline(fp32, **REFERENCE)
    for axes, (_, label) in zip(grid[:, 0], quantities, strict=True):
        axes.set_ylabel(label)
    handles = [
        marks.line(str(o).replace("_", " "), color=observer_color(o), linewidth=2.2)
        for o in df["observer"].unique()
    ]
    handles += [] if fp32 is None else [marks.line("FP32", **REFERENCE)]
    draws = df.groupby(["activation_bits", "observer", x])["draw"].nunique()
    note = f"simulated; line: mean, band: lowest to highest draw, n = {span(draws)}"
    marks.place_legend(figure, handles, note if draws.max() > 1 else "simulated; one draw")
    return figure


@themed
def calibration_sources(df: pd.DataFrame, fp32: float) -> Figure:
    """SQNR of the logits [dB] and top-1 [%] by source of the pictures, a point for each draw.

    Columns: ``source observer draw sqnr_db top1``; the bar joins the lowest and the highest draw.

    Raises:
        InvalidInputError: columns missing, no rows, an observer without colour.
    """
    checked(df, ("source", "observer", "draw", "sqnr_db", "top1"))
    sources, observers = list(df["source"].unique()), list(df["observer"].unique())
    height = 1.5 + len(sources) * (0.18 + 0.15 * len(observers))
    figure = Figure(figsize=(8.2, height), layout="constrained")
    grid = figure.subplots(1, 2, sharey=True)
    places = np.linspace(-0.28, 0.28, len(observers)) if len(observers) > 1 else np.zeros(1)
    for axes, (quantity, label) in zip(grid, _QUANTITIES, strict=True):
        for place, observer in zip(places, observers, strict=True):
            groups = df[df["observer"] == observer].groupby("source")[quantity]
            for source, values in groups:
                row, color = sources.index(source) + place, observer_color(observer)
                axes.plot([values.min(), values.max()], [row, row], color=color, linewidth=1.6)
                axes.plot(values, [row] * len(values), "o", color=color, markersize=4.5, alpha=0.75)
        axes.set_xlabel(label)
    grid[1].axvline(fp32, **REFERENCE)
    grid[0].set_yticks(range(len(sources)), [str(s).replace("_", " ") for s in sources])
    grid[0].set_ylim(len(sources) - 0.5, -0.5)
    handles = [
        marks.line(o.replace("_", " "), color=observer_color(o), marker="o") for o in observers
    ]
    draws = df.groupby(["source", "observer"])["draw"].nunique()
    note = f"simulated; point: one draw, n = {span(draws)}"
    marks.place_legend(figure, [*handles, marks.line("FP32", **REFERENCE)], note)
    return figure


@themed
def beyond_the_range(df: pd.DataFrame) -> Figure:
    """Share of unseen pictures [%] that exceed ``pictures`` seen ones, beside ``1 / (n + 1)``.

    Columns: ``pictures measured expected``, shares in percent.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    rows = checked(df, ("pictures", "measured", "expected")).sort_values("pictures")
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rows["pictures"], rows["expected"], label="1 / (n + 1)", **REFERENCE)
    axes.plot(rows["pictures"], rows["measured"], "o-", color=BLUE, label="measured")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("unseen pictures beyond\nthe range [%] (log)")
    _powers_of_two(axes, list(rows["pictures"]), "calibration pictures n (log)")
    axes.legend()
    return figure


def _band(axes: Axes, groups: pd.core.groupby.SeriesGroupBy, color: str) -> None:
    """Mean by group as a line, lowest to highest as a band."""
    mean, low, high = groups.mean(), groups.min(), groups.max()
    axes.fill_between(mean.index, low, high, color=color, alpha=0.16, linewidth=0)
    axes.plot(mean.index, mean, color=color, linewidth=2.2, marker="o", markersize=4)


def _powers_of_two(axes: Axes, values: Sequence[float], label: str) -> None:
    """A logarithmic axis with these values on it."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_xlabel(label)
