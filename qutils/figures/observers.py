"""Top-1 accuracy by observer."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.figures import marks
from qutils.figures.rows import SETTING, checked, in_order, over_seeds, reference, seeds_note
from qutils.figures.theme import REFERENCE, method_label, model_label, observer_color, themed


@themed
def accuracy_vs_observer(df: pd.DataFrame) -> Figure:
    """Top-1 [%] of PTQ by observer: a row of panels for each setting, a column for each model.

    Every panel has its own scale. Settings with a single observer are left out.

    Raises:
        InvalidInputError: columns or FP32 rows missing, no setting with two observers, an
            observer without colour.
    """
    needed = (*SETTING, "seed", "top1")
    fp32 = reference(checked(df, needed))
    ptq = df[df["method"].str.startswith("ptq") & df["observer"].notna() & df["top1"].notna()]
    summary = over_seeds(checked(ptq, needed))
    summary["panel"] = [_panel(row) for _, row in summary.iterrows()]
    several = summary.groupby("panel")["observer"].transform("nunique") > 1
    summary = checked(summary[several], ("panel",))
    models = in_order(df, summary)
    panels = sorted(summary["panel"].unique())
    observers = list(dict.fromkeys(df["observer"].dropna()))
    observers = [name for name in observers if name in set(summary["observer"])]
    size = (1.4 + 3.6 * len(models), 1.0 + len(panels) * (0.75 + 0.24 * len(observers)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(panels), len(models), squeeze=False, sharey=True)
    for i, panel in enumerate(panels):
        for j, model in enumerate(models):
            rows = summary[(summary["panel"] == panel) & (summary["model"] == model)]
            grid[i, j].axvline(fp32[model], **REFERENCE)
            _draw(grid[i, j], rows, observers)
            prefix = f"{model_label(model)} (FP32 {fp32[model]:.1f} %)\n" if i == 0 else ""
            grid[i, j].set_title(prefix + panel)
    for axes in grid[-1]:
        axes.set_xlabel("top-1 accuracy [%]")
    grid[0, 0].set_yticks(range(len(observers)), [name.replace("_", " ") for name in observers])
    grid[0, 0].set_ylim(len(observers) - 0.5, -0.5)
    handles = [marks.line("FP32", **REFERENCE), *marks.execution_handles(summary)]
    marks.place_legend(figure, handles, seeds_note(summary))
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, observers: list[str]) -> None:
    """One point per observer and execution, its bar from lowest to highest seed."""
    for _, row in rows.iterrows():
        color = observer_color(row["observer"])
        axes.errorbar(
            row["mean"],
            observers.index(row["observer"]),
            xerr=[[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
            if row["n"] > 1
            else None,
            color=color,
            **marks.marker(row["execution"], color),
        )


def _panel(row: pd.Series) -> str:
    bits = f"W{int(row['weight_bits'])}A{int(row['activation_bits'])}"
    name = f"{bits} {str(row['granularity']).replace('_', ' ')}"
    return name if row["method"] == "ptq" else f"{name}, {method_label(row['method'])}"
