"""Which layers lose most: signal to quantization noise by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.lab.figures import marks
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import method_color, method_label, themed

_THICKNESS = 0.8  # of the bars of one layer together


@themed
def sqnr_per_layer(df: pd.DataFrame, title: str = "") -> Figure:
    """SQNR of each layer [dB] as bars in the order of the rows; the lowest is written out bold.

    Columns: ``layer sqnr_db``, and ``method`` where several are compared. Infinite values
    (no error at all) reach the edge and say so.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("layer", "sqnr_db"))
    data = df if "method" in df else df.assign(method="ptq")
    layers = list(dict.fromkeys(data["layer"]))
    methods = list(dict.fromkeys(data["method"]))
    height = 1.5 + len(layers) * (0.14 + 0.16 * len(methods))
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    finite = data["sqnr_db"][np.isfinite(data["sqnr_db"])]
    edge = 1.12 * max(finite.max(), 1.0) if len(finite) else 100.0
    for index, method in enumerate(methods):
        rows = data[data["method"] == method]
        shift = _THICKNESS * ((index + 0.5) / len(methods) - 0.5)
        _draw_bars(axes, rows, [layers.index(n) + shift for n in rows["layer"]], len(methods), edge)
    axes.set_yticks(range(len(layers)), layers)
    axes.set_ylim(len(layers) - 0.5, -0.5)  # input on top
    axes.set_xlim(min(0.0, finite.min() if len(finite) else 0.0), 1.08 * edge)
    axes.set_xlabel("SQNR [dB] (higher is better)")
    axes.grid(False, axis="y")
    axes.set_title(title)
    if "method" in df:
        handles = [marks.line(method_label(m), color=method_color(m), linewidth=6) for m in methods]
        marks.place_legend(figure, handles, "")
    return figure


def _draw_bars(axes: Axes, rows: pd.DataFrame, heights: list[float], of: int, edge: float) -> None:
    """Bars of one method, each with its value."""
    lowest = rows["sqnr_db"].min()
    for y, (_, row) in zip(heights, rows.iterrows(), strict=True):
        value = row["sqnr_db"]
        shown = value if np.isfinite(value) else edge
        axes.barh(y, shown, height=0.9 * _THICKNESS / of, color=method_color(row["method"]))
        axes.annotate(
            f"{value:.1f}" if np.isfinite(value) else "exact",
            (max(shown, 0), y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize="x-small",
            fontweight="bold" if value == lowest else "normal",
        )
