"""Top-1 accuracy by observer."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.lab.figures import marks
from qutils.lab.figures.rows import (
    SETTING,
    checked,
    half_widths,
    in_order,
    over_seeds,
    reference,
    seeds_note,
)
from qutils.lab.figures.theme import (
    GREY,
    REFERENCE,
    method_label,
    model_label,
    observer_color,
    themed,
)


@themed
def accuracy_vs_observer(df: pd.DataFrame) -> Figure:
    """Top-1 [%] of PTQ by observer: a row of panels for each setting, a column for each model.

    Every panel has its own scale, and the observers that its setting was run with. Settings with a
    single observer are left out. Panels that span less than the 95 % interval of one of their
    points are named below.

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
    order = list(dict.fromkeys(df["observer"].dropna()))
    ran = [[name for name in order if name in set(summary["observer"][summary["panel"] == panel])]
           for panel in panels]  # fmt: skip
    figure, grid = _panels([len(names) for names in ran], len(models))
    for i, (panel, observers) in enumerate(zip(panels, ran, strict=True)):
        for j, model in enumerate(models):
            rows = summary[(summary["panel"] == panel) & (summary["model"] == model)]
            grid[i, j].axvline(fp32[model], **REFERENCE)
            _draw(grid[i, j], rows, observers)
            prefix = f"{marks.heading(model, fp32[model])}\n" if i == 0 else ""
            grid[i, j].set_title(prefix + panel)
        grid[i, 0].set_yticks(range(len(observers)), [n.replace("_", " ") for n in observers])
        grid[i, 0].set_ylim(len(observers) - 0.5, -0.5)
    for axes in grid[-1]:
        axes.set_xlabel("top-1 accuracy [%]")
    handles = [marks.line("FP32", **REFERENCE), *marks.execution_handles(summary)]
    note = textwrap.fill(_narrow_note(summary, fp32), 72 * len(models))
    marks.place_legend(figure, handles, "\n".join(filter(None, (seeds_note(summary), note))))
    return figure


def _narrow_note(summary: pd.DataFrame, fp32: pd.Series) -> str:
    """Which panels span less, FP32 included, than the 95 % interval of one of their points.

    Columns: ``panel model mean``, and ``pictures``, without which the answer is empty.
    """
    if "pictures" not in summary:
        return ""
    names = []
    models = in_order(summary, summary)
    for panel, rows in summary.groupby("panel"):
        narrow = [
            model for model, own in rows.groupby("model", sort=False)
            if _spanned(own["mean"], fp32[model]) < 2 * half_widths(own).min()
        ]  # fmt: skip
        told = ", ".join(model_label(model) for model in models if model in narrow)
        if told:
            everywhere = len(narrow) == rows["model"].nunique()
            names.append(str(panel) if everywhere else f"{panel} ({told})")
    return f"all of a panel within one such interval: {', '.join(names)}" if names else ""


def _spanned(points: pd.Series, line: float) -> float:
    return float(max(points.max(), line) - min(points.min(), line))


def _panels(rows: list[int], columns: int) -> tuple[Figure, Any]:
    """An empty figure with rows of panels, each as high as its count of observers needs."""
    heights = [0.85 + 0.24 * count for count in rows]
    size = (1.4 + 3.6 * columns, 1.0 + sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    marks.apart(figure)
    grid = figure.subplots(
        len(rows), columns, squeeze=False, sharey="row", height_ratios=[0.3 + n for n in rows]
    )
    return figure, grid


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
    for place, name in enumerate(observers):
        if name not in set(rows["observer"]):
            axes.text(
                0.5, place, "not run", color=GREY, ha="center", va="center", fontsize="small",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip


def _panel(row: pd.Series) -> str:
    bits = f"W{int(row['weight_bits'])}A{int(row['activation_bits'])}"
    name = f"{bits} {str(row['granularity']).replace('_', ' ')}"
    return name if row["method"] == "ptq" else f"{name}, {method_label(row['method'])}"
