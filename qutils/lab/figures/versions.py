"""Versions of one network beside each other: what the file takes, what it knows, how fast it is."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import BLACK, method_color, themed


@themed
def versions(df: pd.DataFrame) -> Figure:
    """Size [kB], top-1 [%] with its interval and latency [ms] with its IQR, a row per version.

    Columns: version, method, size_kb, top1, top1_low, top1_high, latency_ms, iqr_ms; all measured
    on the file itself.

    Raises:
        InvalidInputError: columns missing, no rows, or a method of no known family.
    """
    needed = ("version", "method", "size_kb", "top1", "top1_low", "top1_high",
              "latency_ms", "iqr_ms")  # fmt: skip
    rows = checked(df, needed)
    figure = Figure(figsize=(9.4, 1.15 + 0.42 * len(rows)), layout="constrained")
    size, top1, latency = figure.subplots(1, 3, sharey=True)
    colors = [method_color(method) for method in rows["method"]]
    _bars(size, rows["size_kb"], colors, "size of the file [kB]", "{:.0f} kB")
    _bars(top1, rows["top1"], colors, "right answers [%]", "{:.1f} %")
    _bars(latency, rows["latency_ms"], colors, "one picture [ms]", "{:.2f} ms")
    low, high = rows["top1"] - rows["top1_low"], rows["top1_high"] - rows["top1"]
    _whiskers(top1, rows["top1"], low, high)
    _whiskers(latency, rows["latency_ms"], rows["iqr_ms"] / 2, rows["iqr_ms"] / 2)
    size.set_yticks(range(len(rows)), rows["version"])
    size.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _bars(axes: Axes, values: pd.Series, colors: list[str], title: str, text: str) -> None:
    axes.barh(range(len(values)), values, color=colors, height=0.62)
    for place, value in enumerate(values):
        axes.annotate(text.format(value), (0, place), xytext=(6, 0), textcoords="offset points",
                      va="center", color="white", fontweight="bold", fontsize=10)  # fmt: skip
    axes.set_title(title)
    axes.set_xlim(0, 1.08 * float(values.max()))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _whiskers(axes: Axes, values: pd.Series, low: pd.Series, high: pd.Series) -> None:
    axes.errorbar(values, range(len(values)), xerr=(low, high), color=BLACK, linestyle="none",
                  linewidth=1.3, capsize=3)  # fmt: skip
