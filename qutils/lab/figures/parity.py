"""Parity in a picture: in which layer a runtime begins to differ, and which layers do it."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.backends import BACKENDS
from qutils.lab.figures import marks
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import BLACK, GREY, VERMILLION, model_label, themed

#: Always this colour and mark for this executor.
EXECUTORS = {
    "simulation": (GREY, "o"),
    **{name: (backend.color, backend.marker) for name, backend in BACKENDS.items()},
}
_OTHER = (VERMILLION, "*")


@themed
def parity_by_layer(df: pd.DataFrame) -> Figure:
    """Integers that differ from the reference's [%], layer by layer, a panel for each model.

    A line is an executor, log scale; on the lowest line, marked ``none``, all integers are equal.
    A filled mark is a layer that itself computes otherwise; a hollow one inherits its difference.
    Columns: ``model executor place layer differs own_differs values``.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    needed = ("model", "executor", "place", "layer", "differs", "own_differs", "values")
    checked(df, needed)
    models = list(dict.fromkeys(df["model"]))
    most = int(df.groupby("model")["place"].max().max()) + 1
    size = (max(7.0, 0.32 * most + 1.5), 1.0 + 3.3 * len(models))
    figure = Figure(figsize=size, layout="constrained")
    floor = _floor(df)
    grid = figure.subplots(len(models), 1, squeeze=False, sharey=True)[:, 0]
    for axes, model in zip(grid, models, strict=True):
        _draw(axes, df[df["model"] == model], floor)
        axes.set_title(model_label(model))
    shown = list(dict.fromkeys(df["executor"]))
    handles = [
        marks.line(name, color=_style(name)[0], marker=_style(name)[1], linewidth=1.3)
        for name in shown
    ]
    handles.append(marks.line("the layer itself departs", color=BLACK, marker="o", linewidth=0))
    handles.append(
        marks.line("inherited", color=BLACK, marker="o", linewidth=0, markerfacecolor="white")
    )
    marks.place_legend(figure, handles, "")
    return figure


def _floor(df: pd.DataFrame) -> float:
    """Where ``none`` stands [%]: a power of ten below the smallest share that differs."""
    some = df["differs"][df["differs"] > 0]
    least = float(some.min()) if len(some) else 0.01
    return float(10 ** (math.floor(math.log10(least)) - 1))


def _draw(axes: Axes, rows: pd.DataFrame, floor: float) -> None:
    for name in dict.fromkeys(rows["executor"]):
        own = rows[rows["executor"] == name].sort_values("place")
        color, marker = _style(name)
        y = own["differs"].clip(lower=floor)
        axes.plot(own["place"], y, color=color, linewidth=1.3, zorder=2)
        for departs, face in ((own["own_differs"] > 0, color), (own["own_differs"] == 0, "white")):
            axes.plot(
                own["place"][departs], y[departs], marker, color=color, markerfacecolor=face,
                markersize=5.5, zorder=3,
            )  # fmt: skip
    names = rows.drop_duplicates("place").sort_values("place")
    axes.set_yscale("log")
    axes.set_xticks(names["place"], names["layer"], rotation=55, ha="right", fontsize="small")
    axes.set_ylim(floor / 2, 150)
    ticks = [t for t in (1e-6, 1e-4, 1e-2, 1.0, 100.0) if t > 1.5 * floor]
    axes.set_yticks([floor, *ticks], ["none", *(f"{t:g}" for t in ticks)])
    axes.minorticks_off()
    axes.set_ylabel("integers that differ [%]")


def _style(name: str) -> tuple[str, str]:
    return EXECUTORS.get(name, _OTHER)
