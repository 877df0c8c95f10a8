"""Accuracy of every pair of weight and activation bits, as a grid of numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import BLACK, themed

#: Light for many right answers, dark for few; its lightness tells them apart without colour.
SHADES = "cividis"


@themed
def accuracy_grid(df: pd.DataFrame) -> Figure:
    """Top-1 [%] by weight bits (across) and activation bits (up), each pair as a field.

    Columns: weight_bits, activation_bits, top1; one row for each pair.

    Raises:
        InvalidInputError: columns missing, or no rows.
    """
    rows = checked(df, ("weight_bits", "activation_bits", "top1"))
    table = rows.pivot(index="activation_bits", columns="weight_bits", values="top1").sort_index()
    figure = Figure(figsize=(1.9 + 0.68 * table.shape[1], 1.3 + 0.44 * table.shape[0]),
                    layout="constrained")  # fmt: skip
    axes = figure.subplots()
    axes.imshow(table, cmap=SHADES, vmin=0, vmax=100, aspect="auto", origin="lower")
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        color = BLACK if value > 55 else "white"
        axes.text(x, y, f"{value:.1f}", ha="center", va="center", color=color, fontsize=10)
    axes.set_xticks(range(table.shape[1]), table.columns)
    axes.set_yticks(range(table.shape[0]), table.index)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_xlabel("bits of the weights")
    axes.set_ylabel("bits of the activations")
    axes.set_title("top-1 [%], simulated")
    return figure
