"""Channel ranges: how far they scatter, what BatchNorm folding makes of them, what it costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from qutils.errors import InvalidInputError
from qutils.lab.figures import marks
from qutils.lab.figures.labels import label_points
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import (
    BLUE,
    GRANULARITY_COLORS,
    GREEN,
    GREY,
    PURPLE,
    REFERENCE,
    VERMILLION,
    model_label,
    themed,
)

#: Always this colour and marker for this kind of layer.
KINDS = {
    "depthwise": (VERMILLION, "o"),
    "pointwise": (BLUE, "s"),
    "plain": (GREEN, "^"),
    "linear": (PURPLE, "D"),
}
_SPREAD = "widest channel over the middle one"


@themed
def spread_by_fan_in(df: pd.DataFrame, name_above: float = 2.8) -> Figure:
    """Spread of the channel ranges of each layer against the weights of one of its filters.

    Columns: ``model layer kind weights spread``; both axes logarithmic. Layers whose spread lies
    above ``name_above`` are named.

    Raises:
        InvalidInputError: columns missing, no rows, or a kind that is none of KINDS.
    """
    _check_kinds(checked(df, ("model", "layer", "kind", "weights", "spread")))
    models = list(dict.fromkeys(df["model"]))
    figure = Figure(figsize=(4.3 * len(models) + 0.6, 3.7), layout="constrained")
    grid = figure.subplots(1, len(models), sharey=True, sharex=True, squeeze=False)[0]
    for axes, model in zip(grid, models, strict=True):
        rows = df[df["model"] == model]
        for kind, part in rows.groupby("kind", sort=False):
            color, marker = KINDS[str(kind)]
            axes.plot(part["weights"], part["spread"], marker, color=color, label=kind, mec="white")
        axes.set_title(model_label(model))
        axes.set_xlabel("weights of one filter")
    grid[0].set(xscale="log", yscale="log", ylabel="spread of channel ranges")
    grid[0].set_xlim(0.75 * df["weights"].min(), 1.4 * df["weights"].max())
    grid[0].xaxis.set_major_locator(FixedLocator([9, 16, 32, 64, 144, 288, 576]))
    grid[0].xaxis.set_minor_locator(NullLocator())
    grid[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _times(grid[0], "y", df["spread"].max())
    kinds = [kind for kind in KINDS if kind in set(df["kind"])]
    handles = [marks.line(k, color=KINDS[k][0], marker=KINDS[k][1], linestyle="") for k in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.draw_without_rendering()  # labels need the final sizes of the panels
    for axes, model in zip(grid, models, strict=True):
        far = df[(df["model"] == model) & (df["spread"] > name_above)]
        points = far[["weights", "spread"]].to_numpy(float)
        label_points(axes, points, list(far["layer"]), list(far["weights"]))
    return figure


@themed
def folding_spread(df: pd.DataFrame) -> Figure:
    """Spread of the channel ranges of each layer before (hollow) and after BatchNorm folding.

    Columns: ``layer kind before after``, from the input on top.

    Raises:
        InvalidInputError: columns missing, no rows, or a kind that is none of KINDS.
    """
    _check_kinds(checked(df, ("layer", "kind", "before", "after")))
    figure = Figure(figsize=(7.4, 1.3 + 0.24 * len(df)), layout="constrained")
    axes = figure.subplots()
    for place, (_, row) in enumerate(df.iterrows()):
        color, _ = KINDS[row["kind"]]
        axes.annotate("", (row["after"], place), (row["before"], place),
                      arrowprops={"arrowstyle": "-", "color": color, "lw": 2})  # fmt: skip
        axes.plot(row["before"], place, "o", color=color, mfc="white", zorder=3)
        axes.plot(row["after"], place, "o", color=color, zorder=4)
    axes.set_yticks(range(len(df)), df["layer"])
    axes.set_ylim(len(df) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xscale("log")
    axes.set_xlabel(f"spread: {_SPREAD} (hollow: as trained, solid: folded)")
    _times(axes, "x", df[["before", "after"]].max().max())
    kinds = [kind for kind in KINDS if kind in set(df["kind"])]
    handles = [marks.line(k, color=KINDS[k][0], marker="o", linestyle="") for k in kinds]
    axes.legend(handles=handles, loc="lower right")
    return figure


@themed
def folding_ranges(df: pd.DataFrame) -> Figure:
    """Channel by channel: range as trained, times BatchNorm's factor, gives the folded range.

    Columns: ``channel before factor after dead``; the widest after folding on top, dead channels
    (whose input is always zero) in colour. Each panel is logarithmic.

    Raises:
        InvalidInputError: columns missing, no rows, or a range that is not above 0.
    """
    checked(df, ("channel", "before", "factor", "after", "dead"))
    if (df[["before", "factor", "after"]] <= 0).any(axis=None):
        raise InvalidInputError("a logarithmic axis has no place for ranges of 0: leave them out")
    rows = df.sort_values("after", ascending=False)
    figure = Figure(figsize=(8.6, 1.2 + 0.21 * len(rows)), layout="constrained")
    grid = figure.subplots(1, 3, sharey=True)
    titles = ("range as trained", "× BatchNorm's factor", "= range folded")
    colors = [VERMILLION if dead else GREY for dead in rows["dead"]]
    for axes, column, title in zip(grid, ("before", "factor", "after"), titles, strict=True):
        left = rows[column].min() / 2
        axes.barh(range(len(rows)), rows[column] - left, left=left, color=colors, height=0.72)
        axes.set_xscale("log")
        axes.set_xlim(left, 1.6 * rows[column].max())
        axes.set_title(title)
        axes.set_xlabel("max |w| of the channel" if column != "factor" else "gamma / sqrt(var)")
        axes.grid(False, axis="y")
    grid[0].set_yticks(range(len(rows)), rows["channel"].astype(str))
    grid[0].set_ylim(len(rows) - 0.5, -0.5)
    grid[0].set_ylabel("channel")
    handles = [marks.line("input is always zero", color=VERMILLION, linewidth=6),
               marks.line("alive", color=GREY, linewidth=6)]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@themed
def accuracy_vs_granularity(df: pd.DataFrame, zoom_points: float = 7.0) -> Figure:
    """Top-1 [%] against weight bits, a line for each granularity, a panel for each model.

    Columns: ``model granularity weight_bits top1 low high`` (95 % interval); the row of FP32 has
    neither granularity nor bits, and is drawn dashed. The upper panels show what lies within
    ``zoom_points`` of FP32, the lower ones everything.

    Raises:
        InvalidInputError: columns missing, no rows, or a model without FP32.
    """
    checked(df, ("model", "granularity", "weight_bits", "top1", "low", "high"))
    models = list(dict.fromkeys(df["model"]))
    figure = Figure(figsize=(4.3 * len(models) + 0.6, 5.4), layout="constrained")
    grid = figure.subplots(
        2, len(models), sharex="col", sharey="row", squeeze=False, height_ratios=[2, 1]
    )
    fp32 = df[df["granularity"].isna()].set_index("model")["top1"]
    for (top, bottom), model in zip(grid.T, models, strict=True):
        if model not in fp32:
            raise InvalidInputError(f"{model} lacks its FP32 row: add one without granularity")
        for axes in (top, bottom):
            axes.axhline(fp32[model], **REFERENCE)
            _accuracy_lines(axes, df[(df["model"] == model) & df["granularity"].notna()])
        top.set_title(model_label(model))
        bottom.set_xlabel("weight bits")
    near = (fp32.min() - zoom_points, max(fp32.max(), df["high"].max()) + 0.3)
    grid[0, 0].set(ylim=near, ylabel="top-1 [%], simulated,\nnear FP32")
    grid[1, 0].set(ylim=(0, 100), ylabel="top-1 [%],\nfull scale")
    for axes in grid[1]:
        axes.axhspan(*near, color=REFERENCE["color"], alpha=0.15, linewidth=0)
    used = [name for name in GRANULARITY_COLORS if name in set(df["granularity"])]
    handles = [marks.line("FP32", **REFERENCE)]
    handles += [
        marks.line(n.replace("_", " "), color=GRANULARITY_COLORS[n], marker=marks.MARKERS[n])
        for n in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _accuracy_lines(axes: Axes, rows: pd.DataFrame) -> None:
    for index, (name, part) in enumerate(rows.groupby("granularity", sort=False)):
        ordered = part.sort_values("weight_bits")
        axes.errorbar(
            ordered["weight_bits"] + 0.07 * (index - 1),
            ordered["top1"],
            yerr=[ordered["top1"] - ordered["low"], ordered["high"] - ordered["top1"]],
            color=GRANULARITY_COLORS[str(name)],
            marker=marks.MARKERS[str(name)],
            markerfacecolor="white",  # simulated
            capsize=3,
        )
    axes.set_xticks(sorted(rows["weight_bits"].astype(int).unique()))


def _check_kinds(df: pd.DataFrame) -> None:
    for kind in df["kind"]:
        if kind not in KINDS:
            raise InvalidInputError(f"unknown kind of layer {kind!r}: one of {', '.join(KINDS)}")


def _times(axes: Axes, which: str, most: float) -> None:
    """Ticks 1, 1.5, 2, 3, .. on a logarithmic axis of ratios."""
    steps = [s for s in (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128) if s <= max(2, 1.3 * most)]
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(steps))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    limits = (0.93, 1.15 * float(np.max([most, 2])))
    axes.set_xlim(limits) if which == "x" else axes.set_ylim(limits)
