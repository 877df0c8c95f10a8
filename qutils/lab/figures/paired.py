"""PTQ beside QAT, seed by seed: a panel for each setting, each with the axis it needs."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import GREY, REFERENCE, method_color, method_label, themed

METHODS = ("ptq", "qat")


@themed
def ptq_to_qat(df: pd.DataFrame, fp32: float) -> Figure:
    """Top-1 [%] of PTQ and QAT in each setting, a line for each seed; ``fp32`` [%] dashed.

    Columns: ``setting method seed top1``. Every panel has its own axis: compare within it.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("setting", "method", "seed", "top1"))
    settings = list(dict.fromkeys(df["setting"]))
    figure = Figure(figsize=(1.2 + 2.3 * len(settings), 3.6), layout="constrained")
    panels = figure.subplots(1, len(settings), squeeze=False)[0]
    for axes, setting in zip(panels, settings, strict=True):
        _draw(axes, df[df["setting"] == setting], fp32)
        axes.set_title(setting)
    panels[0].set_ylabel("top-1 accuracy [%]")
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, fp32: float) -> None:
    """One setting: its seeds from PTQ to QAT."""
    wide = rows.pivot(index="seed", columns="method", values="top1")
    axes.axhline(fp32, **REFERENCE)
    axes.annotate(
        f"FP32 {fp32:.1f} %",
        (0.5, fp32),
        xytext=(0, 3),
        textcoords="offset points",
        xycoords=("axes fraction", "data"),
        ha="center",
        color=REFERENCE["color"],
        fontsize="small",
        bbox={"color": "white", "pad": 0.5, "alpha": 0.85},
        zorder=3,
    )
    for _, seed in wide.iterrows():
        axes.plot([0, 1], [seed[m] for m in METHODS], color=GREY, linewidth=0.9, alpha=0.6)
    for at, method in enumerate(METHODS):
        color = method_color(method)
        axes.plot([at] * len(wide), wide[method], "o", mfc="white", mec=color, mew=1.5, zorder=4)
    axes.set_xticks([0, 1], [method_label(method) for method in METHODS])
    axes.set_xlim(-0.35, 1.35)
    low, high = min(wide.min().min(), fp32), max(wide.max().max(), fp32)
    margin = max(0.15 * (high - low), 0.05)
    axes.set_ylim(low - margin, high + 1.6 * margin)
