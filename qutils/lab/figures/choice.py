"""Choosing an observer: the SQNR of each on many tensors, and what each of two minimizes."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from qutils.errors import InvalidInputError
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import GREY, VERMILLION, observer_color, themed

#: A loss of so many dB against the best in the row is the darkest.
DARKEST_DB = 12.0


@themed
def sqnr_by_observer(df: pd.DataFrame) -> Figure:
    """SQNR [dB] as a matrix: tensors in rows, observers in columns, darker the more is lost.

    Columns: ``tensor observer sqnr_db``; ``fools`` (optional) names the observer that a tensor was
    made against, whose cell gets a frame. The best of each row is bold.

    Raises:
        InvalidInputError: columns missing, no rows, or a tensor without one of the observers.
    """
    checked(df, ("tensor", "observer", "sqnr_db"))
    observers = list(dict.fromkeys(df["observer"]))
    tensors = list(dict.fromkeys(df["tensor"]))
    cells = df.pivot(index="tensor", columns="observer", values="sqnr_db")
    cells = cells.reindex(index=tensors, columns=observers)
    for tensor, observer in zip(*cells.isna().to_numpy().nonzero(), strict=True):
        raise InvalidInputError(f"{tensors[tensor]} lacks the SQNR of {observers[observer]}")
    figure = Figure(figsize=(8.2, 1.1 + 0.34 * len(tensors)), layout="constrained")
    axes = figure.subplots()
    best = cells.max(axis=1)
    lost = (best.to_numpy()[:, None] - cells.to_numpy()).clip(0, DARKEST_DB)
    colors = LinearSegmentedColormap.from_list("lost", ["#FFFFFF", VERMILLION])
    image = axes.imshow(lost, cmap=colors, vmin=0, vmax=DARKEST_DB, aspect="auto")
    for row, tensor in enumerate(tensors):
        for column, observer in enumerate(observers):
            value = cells.loc[tensor, observer]
            weight = "bold" if value > best[tensor] - 0.05 else "normal"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontweight=weight)
    _frames(axes, df, tensors, observers)
    axes.set_xticks(range(len(observers)), [name.replace("_", " ") for name in observers])
    axes.set_yticks(range(len(tensors)), tensors)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("lost to the best [dB]")
    bar.set_ticks([0, 4, 8, 12], labels=["0", "4", "8", "12 or more"])
    return figure


def _frames(axes: Axes, df: pd.DataFrame, tensors: list[str], observers: list[str]) -> None:
    """A frame around the observer that each tensor was made against."""
    if "fools" not in df.columns:
        return
    fools = df.dropna(subset="fools").drop_duplicates("tensor").set_index("tensor")["fools"]
    for tensor, observer in fools.items():
        corner = (observers.index(observer) - 0.47, tensors.index(str(tensor)) - 0.44)
        axes.add_patch(Rectangle(corner, 0.94, 0.88, fill=False, edgecolor="black", linewidth=1.8))


@themed
def objective_curves(df: pd.DataFrame) -> Figure:
    """What observers minimize, against the range: one panel each, the minimum marked.

    Columns: ``range objective observer value``; ``range`` is the upper end in units of the tensor,
    ``objective`` the label of the panel's axis, logarithmic. The minimum has the observer's colour.

    Raises:
        InvalidInputError: columns missing, no rows, an observer without colour.
    """
    checked(df, ("range", "objective", "observer", "value"))
    panels = list(df.groupby("objective", sort=False))
    figure = Figure(figsize=(7.2, 0.7 + 1.8 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (objective, rows) in zip(grid, panels, strict=True):
        rows = rows.sort_values("range")
        axes.plot(rows["range"], rows["value"], color=GREY, linewidth=1.4)
        _mark(axes, rows.loc[rows["value"].idxmin()], rows["range"].max())
        axes.set_yscale("log")
        narrow = rows["value"].max() < 100 * rows["value"].min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_ylabel(objective)
    grid[-1].set_xlabel("upper end of the range, in units of the tensor")
    return figure


def _mark(axes: Axes, least: pd.Series, widest: float) -> None:
    """The minimum, and who chooses it, written on the side that has room."""
    color, x = observer_color(least["observer"]), least["range"]
    side: dict[str, Any] = {"ha": "left", "xytext": (7, 0)}
    if x > widest / 2:
        side = {"ha": "right", "xytext": (-7, 0)}
    axes.axvline(x, color=color, linewidth=1.2)
    axes.plot([x], [least["value"]], "o", color=color, markersize=9, mec="white")
    axes.annotate(
        f"{least['observer']} chooses {x:.2f}", (x, 0.86), xycoords=("data", "axes fraction"),
        textcoords="offset points", color=color, fontweight="bold", **side,
    )  # fmt: skip
