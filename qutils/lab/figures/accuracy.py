"""Top-1 accuracy against what it costs: bits, bytes, milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.errors import InvalidInputError
from qutils.lab.figures import marks
from qutils.lab.figures.labels import LINE, label_points
from qutils.lab.figures.rows import (
    SETTING,
    checked,
    in_order,
    one_observer,
    over_seeds,
    reference,
    seeds_note,
)
from qutils.lab.figures.theme import REFERENCE, method_color, method_label, themed

_TOP1 = "top-1 accuracy [%]"
_SERIES = ["method", "activation_bits", "observer", "granularity"]
_NEEDED = (*SETTING, "seed", "top1")


@themed
def accuracy_vs_bits(df: pd.DataFrame, zoom_points: float = 4.0) -> Figure:
    """Top-1 [%] against weight bits, a column per model, FP32 as dashed reference.

    Points are means over seeds, bars run from the lowest to the highest seed. Where a setting
    falls further than ``zoom_points`` below FP32 and another does not, the upper panel shows the
    last points before FP32 and the lower one everything. A point without a line has its bits beside
    it; bits that all points share stand below.

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
    collapsed = summary["low"].min() < zoom[0] <= summary["mean"].max()
    widths = sorted(summary["weight_bits"].astype(int).unique())
    figure, grid = _panels(models, rows=2 if collapsed else 1)
    for column, model in enumerate(models):
        rows = summary[summary["model"] == model]
        for axes in grid[:, column]:
            axes.axhline(fp32[model], **REFERENCE)
            _draw_series(axes, rows)
        marks.title(grid[0, column], model, fp32[model])
        grid[-1, column].set_xlabel("weight bits")
        grid[-1, column].set_xticks(widths)
        if len(widths) == 1:
            grid[-1, column].set_xlim(widths[0] - 0.5, widths[0] + 0.5)
        if collapsed:
            _zoomed(grid[0, column], grid[1, column], zoom)
    _label_rows(grid, collapsed)
    lines = [
        series["activation_bits"].iloc[0]
        for model in models
        for series, _ in _series(summary[summary["model"] == model])
        if len(_path(series)) > 1
    ]
    marks.legend(figure, summary, note=_note(summary), lines=lines)
    figure.draw_without_rendering()  # labels need the final sizes of the panels
    for column, model in enumerate(models if _shared_bits(summary) is None else ()):
        _name_lone_points(grid[:, column], summary[summary["model"] == model], fp32[model])
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
        axes.axhline(fp32[model], **REFERENCE)
        rows = quantized[quantized["model"] == model]
        for _, row in rows.iterrows():
            marks.draw_point(axes, row["x"], row, xerr=row["x_iqr"] / 2 if extra else None)
        _draw_fp32(axes, summary[(summary["model"] == model) & (summary["method"] == "fp32")])
        axes.set_xlim(
            0, (1.5 if extra else 1.3) * summary.loc[summary["model"] == model, "x"].max()
        )
        axes.set_xlabel(xlabel)
        axes.margins(y=0.3)
        marks.title(axes, model, fp32[model])
    grid[0, 0].set_ylabel(_TOP1)
    said = _setting_labels(quantized)
    marks.legend(figure, quantized, note=_note(quantized), star=True)
    figure.draw_without_rendering()  # labels need the final sizes of the panels
    _make_room(grid[0, 0], quantized, fp32)
    for axes, model in zip(grid[0], models, strict=True):
        rows = quantized[quantized["model"] == model]
        right = rows["x"] + (rows["x_iqr"] / 2 if extra else 0)
        points = rows[["x", "mean"]].to_numpy(float)
        label_points(axes, points, list(said[rows.index]), right.tolist(), fp32[model])
    return figure


def _make_room(axes: Axes, rows: pd.DataFrame, fp32: pd.Series) -> None:
    """Widen y until a label for every row has room on its side of FP32, within the panel."""
    lines = axes.get_window_extent().height * 72 / axes.figure.dpi / LINE
    low, high = axes.get_ylim()
    for _ in range(20):  # a wider range makes each line of text wider too
        line = (high - low) / lines
        for model, own in rows.groupby("model")["mean"]:
            level = fp32[model]
            for side in (own[own >= level], own[own < level]):
                beside, reach = line * (len(side) / 2 + 1), line * (len(side) + 1)
                if len(side) and side.min() >= level:
                    high = max(high, level + reach, side.max() + beside)
                elif len(side):
                    low = min(low, level - reach, side.min() - beside)
    axes.set_ylim(low, high)


def _panels(models: list[str], rows: int) -> tuple[Figure, Any]:
    """An empty figure, a column per model; returns it and its axes ``[rows, models]``."""
    size = (0.6 + 4.2 * len(models), 5.6 if rows == 2 else 4.4)
    figure = Figure(figsize=size, layout="constrained")
    ratios = [2.2, 1] if rows == 2 else [1]
    grid = figure.subplots(
        rows, len(models), squeeze=False, sharex="col", sharey="row", height_ratios=ratios
    )
    return figure, grid


def _series(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, float]]:
    """The rows of each line of one model, and how far it is moved so that bars stand apart."""
    groups = [series for _, series in rows.groupby(_SERIES, dropna=False, sort=True)]
    return [(series, 0.07 * (i - (len(groups) - 1) / 2)) for i, series in enumerate(groups)]


def _path(series: pd.DataFrame) -> pd.DataFrame:
    """The points a line runs through: the simulated ones, else the integer ones."""
    simulated = series[series["execution"] == "simulated"]
    return (simulated if len(simulated) else series).sort_values("weight_bits")


def _draw_series(axes: Axes, rows: pd.DataFrame) -> None:
    """A line for each series, and its points."""
    for series, shift in _series(rows):
        path = _path(series)
        if len(path) > 1:
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


def _name_lone_points(column: Any, rows: pd.DataFrame, fp32: float) -> None:
    """Write the bits beside points without a line, whose style would tell the activation bits.

    Each is named once, in the first panel of the ``column`` that shows it.
    """
    paths = [(_path(series), shift) for series, shift in _series(rows)]
    lone = [(path.iloc[0], shift) for path, shift in paths if len(path) == 1]
    for axes in column:
        low, high = axes.get_ylim()
        shown = [(row, shift) for row, shift in lone if low <= row["mean"] <= high]
        lone = [(row, shift) for row, shift in lone if not low <= row["mean"] <= high]
        if not shown:
            continue
        points = np.array([[row["weight_bits"] + d, row["mean"]] for row, d in shown], float)
        near = axes is column[0]  # on full scale there is room below the points alone
        label_points(
            axes,
            points,
            [_bits(row) for row, _ in shown],
            points[:, 0].tolist(),
            line=fp32 if near else points[:, 1].max() + (high - low) / 1000,
            left=near,
            colors=[method_color(row["method"]) for row, _ in shown],
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


def _setting_labels(rows: pd.DataFrame) -> pd.Series:
    """What tells the settings of a panel apart: bits, observer; bits if neither does.

    Where two labels of a panel would be equal, method and granularity, as far as they differ.
    """
    said = pd.Series([_bits(row) for _, row in rows.iterrows()], rows.index)
    observers = rows["observer"].astype(str).str.replace("_", " ")
    if observers.nunique() > 1:
        said = observers if said.nunique() < 2 else said + " " + observers
    full = said.copy()
    for _, same in rows.groupby([rows["model"], said]):
        if same["method"].nunique() > 1:
            full[same.index] = same["method"].map(method_label) + " " + full[same.index]
        if same["granularity"].nunique() > 1:
            full[same.index] += " " + same["granularity"].astype(str).str.replace("_", " ")
    return full


def _note(summary: pd.DataFrame) -> str:
    """Bits that all points share, and what the bars show."""
    bits = _shared_bits(summary)
    return f"{bits}; {seeds_note(summary)}" if bits else seeds_note(summary)


def _shared_bits(summary: pd.DataFrame) -> str | None:
    """The bits of all points; None if they differ."""
    bits = {_bits(row) for _, row in summary.iterrows()}
    return bits.pop() if len(bits) == 1 else None


def _bits(row: pd.Series) -> str:
    return f"W{int(row['weight_bits'])}A{int(row['activation_bits'])}"
