"""What bits do to a network: by part, by layer, and in a mix of widths."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qutils.lab.figures.marks import line, place_legend
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    REFERENCE,
    VERMILLION,
    model_label,
    themed,
)

#: Colour and marker of what is quantized, everywhere in this file.
PARTS = {
    "weights": (BLUE, "o"),
    "activations": (ORANGE, "s"),
    "both": (BLACK, "D"),
}
_ORDERS = (BLUE, VERMILLION, GREY)


@themed
def accuracy_by_part(df: pd.DataFrame) -> Figure:
    """Top-1 [%] against the bits of the weights, of the activations, of both; a panel per model.

    Columns: ``model part bits top1 low high fp32``, ``part`` being weights, activations or both;
    ``low`` and ``high`` are the ends of an interval.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("model", "part", "bits", "top1", "low", "high", "fp32"))
    models = list(dict.fromkeys(df["model"]))
    figure = Figure(figsize=(0.8 + 4 * len(models), 4.1), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, model in zip(panels, models, strict=True):
        rows = df[df["model"] == model]
        axes.axhline(rows["fp32"].iloc[0], **REFERENCE)
        for index, part in enumerate(dict.fromkeys(rows["part"])):
            _draw_part(axes, rows[rows["part"] == part], part, 0.08 * (index - 1))
        axes.set_title(model_label(model))
        axes.set_xlabel("bits")
        axes.set_xticks(sorted(rows["bits"].unique()))
        axes.set_ylim(0, 102)
    panels[0].set_ylabel("top-1 accuracy [%], simulated")
    note = "all else 8 bits; dashed: FP32; bar: 95 % interval over pictures"
    place_legend(figure, [_handle(part) for part in dict.fromkeys(df["part"])], note)
    return figure


@themed
def sensitivity_by_layer(df: pd.DataFrame) -> Figure:
    """SQNR of the logits [dB] if one layer alone is quantized; a row for each layer.

    Columns: ``layer part sqnr_db``, ``part`` being weights, activation or both. The most harmful
    layer, with the lowest SQNR, is written in bold.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("layer", "part", "sqnr_db"))
    layers = list(dict.fromkeys(df["layer"]))
    figure = Figure(figsize=(7.2, 1.5 + 0.23 * len(layers)), layout="constrained")
    axes = figure.subplots()
    parts = list(dict.fromkeys(df["part"]))
    for part in parts:
        rows = df[df["part"] == part]
        color, marker = PARTS[_plural(part)]
        places = [layers.index(name) for name in rows["layer"]]
        look: dict[str, Any] = {
            "color": color,
            "markerfacecolor": "white",
            "markeredgewidth": 1.5,
            "zorder": 3,
        }
        axes.plot(rows["sqnr_db"], places, marker, **look)
    axes.set_yticks(range(len(layers)), layers)
    axes.set_ylim(len(layers) - 0.5, -0.5)  # input on top
    worst = layers.index(df.loc[df["sqnr_db"].idxmin(), "layer"])
    axes.get_yticklabels()[worst].set_fontweight("bold")
    axes.set_xlabel("SQNR of the logits [dB] (lower: this layer alone hurts more)")
    place_legend(figure, [_handle(_plural(part), line_style="none") for part in parts], "")
    return figure


@themed
def accuracy_vs_mix(df: pd.DataFrame, fp32: float) -> Figure:
    """Top-1 [%] against the estimated size [KiB] as layer after layer gets more bits.

    Columns: ``order size_kib top1``, rows of one ``order`` from the fewest to the most bits;
    ``fp32`` [%] dashed.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("order", "size_kib", "top1"))
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.axhline(fp32, label="FP32", **REFERENCE)
    for index, (order, rows) in enumerate(df.groupby("order", sort=False)):
        color = _ORDERS[index % len(_ORDERS)]
        axes.plot(rows["size_kib"], rows["top1"], marker="o", color=color, label=str(order))
    axes.set_xlabel("weights, biases, scales, zero points [KiB], estimated")
    axes.set_ylabel("top-1 accuracy [%], simulated")
    axes.legend(loc="lower right")
    return figure


def _draw_part(axes: Axes, rows: pd.DataFrame, part: str, shift: float) -> None:
    color, marker = PARTS[part]
    ordered = rows.sort_values("bits")
    errors = (ordered["top1"] - ordered["low"], ordered["high"] - ordered["top1"])
    axes.errorbar(
        ordered["bits"] + shift, ordered["top1"], yerr=errors, color=color, marker=marker,
        markerfacecolor="white", markeredgewidth=1.5, capsize=2, elinewidth=1.2,
    )  # fmt: skip


def _plural(part: str) -> str:
    """``LayerSensitivity`` speaks of the one activation that a layer has."""
    return "activations" if part == "activation" else part


def _handle(part: str, line_style: str = "-") -> Line2D:
    color, marker = PARTS[part]
    look: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.5}
    return line(part, color=color, marker=marker, linestyle=line_style, **look)
