"""Bars of what was measured: latency, file size, memory, training steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qutils.lab.figures import marks
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import (
    BLACK,
    GREEN,
    METHOD_COLORS,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    method_color,
    model_label,
    themed,
)

#: Always this colour for this file of a network.
FILE_COLORS = {"FP32": METHOD_COLORS["fp32"], "INT8 qutils": VERMILLION}
_PEER_COLOR = SKY
#: Parts of a model file, from the left: column, label, colour.
_PARTS = (
    ("weights", "weights", GREEN),
    ("biases", "biases", ORANGE),
    ("scales", "scales and zero points", PURPLE),
    ("graph", "graph", "#BBBBBB"),
)
_KIB = 1024


@themed
def latency_bars(df: pd.DataFrame) -> Figure:
    """Median latency [ms] of each file and session setting; the line spans the IQR.

    A row of panels for each batch size, a column for each model, every panel with its own scale.
    Columns: model, batch, file, session, median_ms, iqr_ms, over_float, threads.

    Raises:
        InvalidInputError: columns missing, or no rows.
    """
    needed = ("model", "batch", "file", "session", "median_ms", "iqr_ms", "over_float", "threads")
    models, batches = _distinct(checked(df, needed), "model"), _distinct(df, "batch")
    count = df.groupby(["model", "batch"]).size().max()
    height = 0.8 + len(batches) * (1.0 + 0.34 * count)
    figure, grid = _panels(len(batches), len(models), (1.8 + 4.2 * len(models), height))
    for i, batch in enumerate(batches):
        for j, model in enumerate(models):
            rows = df[(df["batch"] == batch) & (df["model"] == model)]
            _draw_bars(
                grid[i, j],
                [_file_label(row) for _, row in rows.iterrows()],
                rows["median_ms"],
                [FILE_COLORS.get(name, _PEER_COLOR) for name in rows["file"]],
                texts=[_latency_text(row) for _, row in rows.iterrows()],
                spread=rows["iqr_ms"],
                hatched=[session == "default" for session in rows["session"]],
            )
            grid[i, j].set_title(f"{model_label(model)}, batch {batch}")
            if j:
                grid[i, j].tick_params(labelleft=False)
    threads = int(df["threads"].iloc[0])
    for axes in grid[-1]:
        axes.set_xlabel(f"latency of one call [ms], {threads} thread{'s' if threads > 1 else ''}")
    return figure


@themed
def size_bars(df: pd.DataFrame) -> Figure:
    """Bytes of each file [KiB], stacked by what they are; a panel for each model.

    Columns: model, file, weights, biases, scales, graph, total, file_ratio (bytes and ratio).

    Raises:
        InvalidInputError: columns missing, or no rows.
    """
    parts = [name for name, _, _ in _PARTS]
    models = _distinct(checked(df, ("model", "file", *parts, "total", "file_ratio")), "model")
    size = (1.8 + 4.2 * len(models), 1.5 + 0.4 * df.groupby("model").size().max())
    figure, grid = _panels(1, len(models), size)
    for axes, model in zip(grid[0], models, strict=True):
        rows = df[df["model"] == model]
        left = pd.Series(0.0, index=rows.index)
        for name, _, color in _PARTS:
            style = {"color": color, "height": 0.62, "linewidth": 0}
            axes.barh(range(len(rows)), rows[name] / _KIB, left=left, **style)
            left += rows[name] / _KIB
        for place, (_, row) in enumerate(rows.iterrows()):
            text = f"{row['total'] / _KIB:.0f} KiB"
            text += "" if row["file"] == "FP32" else f", {row['file_ratio']:.2f} of FP32"
            _annotate(axes, row["total"] / _KIB, place, text)
        _label(axes, list(rows["file"]), rows["total"].max() / _KIB)
        axes.set_title(model_label(model))
        axes.set_xlabel("file size [KiB]")
    for axes in grid[0, 1:]:
        axes.tick_params(labelleft=False)
    handles = [Patch(color=color, label=label) for _, label, color in _PARTS]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@themed
def memory_bars(df: pd.DataFrame) -> Figure:
    """Peak memory of calibration [MiB] with few and with many pictures, for each observer.

    The dark line marks the peak before calibration began. Columns: model, observer, few, many
    (pictures), base_mib, few_mib, many_mib, ratio.

    Raises:
        InvalidInputError: columns missing, or no rows.
    """
    needed = ("model", "observer", "few", "many", "base_mib", "few_mib", "many_mib", "ratio")
    models = _distinct(checked(df, needed), "model")
    size = (1.8 + 4.2 * len(models), 1.6 + 0.55 * df.groupby("model").size().max())
    figure, grid = _panels(1, len(models), size)
    for axes, model in zip(grid[0], models, strict=True):
        rows = df[df["model"] == model].reset_index(drop=True)
        for place, row in rows.iterrows():
            axes.barh(place - 0.18, row["few_mib"], height=0.34, color=SKY)
            axes.barh(place + 0.18, row["many_mib"], height=0.34, color=METHOD_COLORS["qat"])
            axes.plot([row["base_mib"]] * 2, [place - 0.36, place + 0.36], color=BLACK)
            end = max(row["few_mib"], row["many_mib"])
            _annotate(axes, end, place, f"ratio {row['ratio']:.3f}")
        names = [name.replace("_", " ") for name in rows["observer"]]
        _label(axes, names, rows[["few_mib", "many_mib"]].max().max())
        axes.set_title(model_label(model))
        axes.set_xlabel("peak memory of the process [MiB]")
    for axes in grid[0, 1:]:
        axes.tick_params(labelleft=False)
    first = df.iloc[0]
    handles: list[Any] = [
        Patch(color=SKY, label=f"{first['few']:,} pictures"),
        Patch(color=METHOD_COLORS["qat"], label=f"{first['many']:,} pictures"),
        Patch(color=BLACK, label="before calibration"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@themed
def step_bars(df: pd.DataFrame) -> Figure:
    """Median time of a training step [ms], FP32 and QAT; the line spans the IQR.

    Columns: model, method, label, median_ms, iqr_ms, ratio, batch, threads.

    Raises:
        InvalidInputError: columns missing, or no rows.
    """
    needed = ("model", "method", "label", "median_ms", "iqr_ms", "ratio", "batch", "threads")
    models = _distinct(checked(df, needed), "model")
    figure, grid = _panels(1, len(models), (1.8 + 4.2 * len(models), 2.0))
    for axes, model in zip(grid[0], models, strict=True):
        rows = df[df["model"] == model]
        texts = [
            f"{row['median_ms']:.0f} ms"
            + ("" if row["method"] == "fp32" else f", {row['ratio']:.2f} of FP32")
            for _, row in rows.iterrows()
        ]
        colors = [method_color(method) for method in rows["method"]]
        _draw_bars(axes, list(rows["label"]), rows["median_ms"], colors, texts, rows["iqr_ms"])
        axes.set_title(model_label(model))
        axes.set_xlabel(f"one step, batch {rows['batch'].iloc[0]} [ms]")
    for axes in grid[0, 1:]:
        axes.tick_params(labelleft=False)
    return figure


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    marks.apart(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _draw_bars(
    axes: Axes,
    labels: list[str],
    values: pd.Series,
    colors: list[str],
    texts: list[str],
    spread: pd.Series,
    hatched: Sequence[bool] = (),
) -> None:
    """Horizontal bars from the top down, each with its IQR and a text after its end."""
    bars = axes.barh(range(len(labels)), values, color=colors, height=0.62)
    for bar, striped in zip(bars, hatched, strict=False):
        if striped:
            bar.set(hatch="///", edgecolor="white", linewidth=0)
    ends = values + spread / 2
    axes.errorbar(values, range(len(labels)), xerr=spread / 2, color=BLACK, linestyle="none")
    for place, (end, text) in enumerate(zip(ends, texts, strict=True)):
        _annotate(axes, end, place, text)
    _label(axes, labels, ends.max())


def _label(axes: Axes, labels: list[str], end: float) -> None:
    """Names from the top down; room for the texts after the bars."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1.6 * end)
    axes.grid(visible=False, axis="y")


def _annotate(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize="small"
    )


def _file_label(row: pd.Series) -> str:
    return str(row["file"]) if row["file"] == "FP32" else f"{row['file']}, {row['session']}"


def _latency_text(row: pd.Series) -> str:
    text = f"{row['median_ms']:#.3g}".rstrip(".") + " ms"
    return text if row["file"] == "FP32" else f"{text}, {row['over_float']:.2f} of FP32"


def _distinct(df: pd.DataFrame, column: str) -> list[Any]:
    return list(dict.fromkeys(df[column]))
