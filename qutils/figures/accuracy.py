"""Top-1 accuracy against what it costs: bits, bytes, milliseconds."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.errors import InvalidInputError
from qutils.figures import marks
from qutils.figures.labels import label_points
from qutils.figures.rows import (
    SETTING,
    checked,
    in_order,
    one_observer,
    over_seeds,
    reference,
    seeds_note,
)
from qutils.figures.theme import REFERENCE, method_color, themed

_TOP1 = "top-1 accuracy [%]"
_SERIES = ["method", "activation_bits", "observer", "granularity"]
_NEEDED = (*SETTING, "seed", "top1")


@themed
def accuracy_vs_bits(df: pd.DataFrame, zoom_points: float = 4.0) -> Figure:
    """Top-1 [%] against weight bits, a column per model, FP32 as dashed reference.

    Points are means over seeds, bars run from the lowest to the highest seed. Where a setting
    falls further than ``zoom_points`` below FP32, the upper panel shows the last points before
    FP32 and the lower one everything.

    Raises:
        InvalidInputError: columns or FP32 rows missing, nothing quantized, several observers for
            one setting.
    """
    checked(df, _NEEDED)
    fp32 = reference(df)
    summary = over_seeds(checked(df[(df["method"] != "fp32") & df["top1"].notna()], _NEEDED))
    one_observer(summary)
    models = in_order(df, summary)
    zoom = (fp32[models].min() - zoom_points, max(fp32[models].max(), summary["high"].max()) + 0.5)
    collapsed = summary["low"].min() < zoom[0]
    figure, grid = _panels(models, rows=2 if collapsed else 1)
    for column, model in enumerate(models):
        rows = summary[summary["model"] == model]
        for axes in grid[:, column]:
            marks.draw_reference(axes, fp32[model], label=axes is grid[0, column])
            _draw_series(axes, rows)
        marks.title(grid[0, column], model)
        grid[-1, column].set_xlabel("weight bits")
        grid[-1, column].set_xticks(sorted(summary["weight_bits"].astype(int).unique()))
        if collapsed:
            _zoomed(grid[0, column], grid[1, column], zoom)
    _label_rows(grid, collapsed)
    marks.legend(figure, summary, lines=True, note=seeds_note(summary))
    return figure


@themed
def accuracy_vs_size(df: pd.DataFrame) -> Figure:
    """Top-1 [%] against the size of the file [KiB], a panel per model, FP32 as dashed reference.

    Raises:
        InvalidInputError: columns or FP32 rows missing, no quantized row with a size.
    """
    kib = df.assign(x=checked(df, (*_NEEDED, "size_bytes"))["size_bytes"].astype(float) / 1024)
    return _against(kib, "file size [KiB]", ())


@themed
def accuracy_vs_latency(df: pd.DataFrame, batch: int | None = None) -> Figure:
    """Top-1 [%] against median latency [ms] with its IQR as a bar centred on it.

    Batch size and threads stand on the axis; ``batch`` is needed where the rows have no column
    of that name.

    Raises:
        InvalidInputError: columns or FP32 rows missing, no quantized row with a latency, several
            numbers of threads or batch sizes.
    """
    checked(df, (*_NEEDED, "latency_ms_median", "latency_ms_iqr", "threads"))
    timed = checked(df[df["latency_ms_median"].notna()], _NEEDED)
    sizes = timed["batch"].dropna().unique() if "batch" in timed else [batch]
    threads = timed["threads"].dropna().unique()
    if len(sizes) != 1 or len(threads) != 1 or sizes[0] is None:
        raise InvalidInputError(
            f"batch sizes {list(sizes)} and threads {list(threads)}: draw one of each at a time"
        )
    count = int(threads[0])
    unit = f"latency [ms], batch {int(sizes[0])}, {count} thread{'s' if count > 1 else ''}"
    x = df["latency_ms_median"].astype(float)
    rows = df.assign(x=x, x_iqr=df["latency_ms_iqr"].astype(float))
    return _against(rows, f"{unit}\n(median, bar: IQR)", ("x_iqr",))


def _against(df: pd.DataFrame, xlabel: str, extra: tuple[str, ...]) -> Figure:
    """Top-1 against column ``x``, where it was measured."""
    fp32 = reference(df)
    measured = df[df["x"].notna() & df["top1"].notna()]
    summary = over_seeds(measured, ("x", *extra))
    quantized = checked(summary[summary["method"] != "fp32"], ("x",))
    models = in_order(df, quantized)
    figure, grid = _panels(models, rows=1)
    for axes, model in zip(grid[0], models, strict=True):
        marks.draw_reference(axes, fp32[model])
        rows = quantized[quantized["model"] == model]
        for _, row in rows.iterrows():
            marks.draw_point(axes, row["x"], row, xerr=row["x_iqr"] / 2 if extra else None)
        _draw_fp32(axes, summary[(summary["model"] == model) & (summary["method"] == "fp32")])
        axes.set_xlim(
            0, (1.5 if extra else 1.3) * summary.loc[summary["model"] == model, "x"].max()
        )
        axes.set_xlabel(xlabel)
        axes.margins(y=0.15)
        marks.title(axes, model)
    grid[0, 0].set_ylabel(_TOP1)
    marks.legend(figure, quantized, lines=False, note=seeds_note(quantized))
    figure.draw_without_rendering()  # labels need the final sizes of the panels
    for axes, model in zip(grid[0], models, strict=True):
        rows = quantized[quantized["model"] == model]
        right = rows["x"] + (rows["x_iqr"] / 2 if extra else 0)
        several = quantized["observer"].nunique() > 1
        texts = [_setting_label(row, several) for _, row in rows.iterrows()]
        label_points(axes, rows[["x", "mean"]].to_numpy(float), texts, right.tolist())
    return figure


def _panels(models: list[str], rows: int) -> tuple[Figure, Any]:
    """An empty figure, a column per model; returns it and its axes ``[rows, models]``."""
    size = (0.6 + 4.2 * len(models), 5.6 if rows == 2 else 4.4)
    figure = Figure(figsize=size, layout="constrained")
    ratios = [2.2, 1] if rows == 2 else [1]
    grid = figure.subplots(
        rows, len(models), squeeze=False, sharex="col", sharey="row", height_ratios=ratios
    )
    return figure, grid


def _draw_series(axes: Axes, rows: pd.DataFrame) -> None:
    """A line for each series through its simulated points, else through its integer ones."""
    groups = list(rows.groupby(_SERIES, dropna=False, sort=True))
    for index, (_, series) in enumerate(groups):
        shift = 0.07 * (index - (len(groups) - 1) / 2)  # bars side by side
        simulated = series[series["execution"] == "simulated"]
        path = (simulated if len(simulated) else series).sort_values("weight_bits")
        axes.plot(
            path["weight_bits"].astype(float) + shift,
            path["mean"],
            color=method_color(path["method"].iloc[0]),
            linestyle=marks.line_style(path["activation_bits"].iloc[0]),
            linewidth=1.8,
            zorder=3,
        )
        for _, row in series.iterrows():
            marks.draw_point(axes, float(row["weight_bits"]) + shift, row)
        if path["weight_bits"].nunique() == 1:  # no line whose style tells the activation bits
            _name_lone_point(axes, path.iloc[0], shift)


def _name_lone_point(axes: Axes, row: pd.Series, shift: float) -> None:
    axes.annotate(
        _setting_label(row, with_observer=False),
        (float(row["weight_bits"]) + shift, row["mean"]),
        xytext=(9, -4),
        textcoords="offset points",
        color=method_color(row["method"]),
        fontsize="small",
        annotation_clip=True,
    )


def _zoomed(top: Axes, bottom: Axes, zoom: tuple[float, float]) -> None:
    """Limit the upper panel to ``zoom`` and mark that strip in the lower one."""
    top.set_ylim(*zoom)
    bottom.set_ylim(0, 100)
    bottom.axhspan(*zoom, color=REFERENCE["color"], alpha=0.15, linewidth=0)


def _label_rows(grid: Any, collapsed: bool) -> None:
    grid[0, 0].set_ylabel(_TOP1 + ("\nnear FP32" if collapsed else ""))
    if collapsed:
        grid[1, 0].set_ylabel("top-1 [%]\nfull scale")


def _draw_fp32(axes: Axes, rows: pd.DataFrame) -> None:
    """FP32's own point, where its size or latency is known."""
    for _, row in rows.iterrows():
        color = REFERENCE["color"]
        xerr = row["x_iqr"] / 2 if "x_iqr" in rows else None
        axes.errorbar(row["x"], row["mean"], xerr=xerr, color=color, marker="*", markersize=11)


def _setting_label(row: pd.Series, with_observer: bool) -> str:
    bits = f"W{int(row['weight_bits'])}A{int(row['activation_bits'])}"
    return f"{bits} {str(row['observer']).replace('_', ' ')}" if with_observer else bits
