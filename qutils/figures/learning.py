"""Learning curves: loss and accuracy over epochs, seeds faint, their mean strong."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qutils.figures import marks
from qutils.figures.rows import checked, span
from qutils.figures.theme import method_color, method_label, themed

_PANELS = (("loss", "training loss [nats]"), ("accuracy", "training accuracy [%]"))
#: Lines for the settings of one method, in order.
_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


@themed
def learning_curves(df: pd.DataFrame) -> Figure:
    """Loss [nats] and accuracy [%] by epoch, a column per model; seeds faint, mean strong.

    Columns: ``model method seed epoch loss accuracy``; ``weight_bits`` and ``activation_bits``
    tell several settings of a method apart. The mean is taken where all seeds have a point.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("model", "method", "seed", "epoch", "loss", "accuracy"))
    data = df.assign(setting=[_setting(row) for _, row in df.iterrows()])
    models = list(dict.fromkeys(data["model"]))
    figure = Figure(figsize=(0.8 + 4 * len(models), 5.4), layout="constrained")
    grid = figure.subplots(2, len(models), squeeze=False, sharex="col", sharey="row")
    methods = dict(zip(data["setting"], data["method"], strict=True))
    styles = _line_styles(methods)
    for column, model in enumerate(models):
        marks.title(grid[0, column], model)
        grid[1, column].set_xlabel("epoch")
        for name, rows in data[data["model"] == model].groupby("setting"):
            look = {"color": method_color(methods[name]), "linestyle": styles[name]}
            for axes, (quantity, _) in zip(grid[:, column], _PANELS, strict=True):
                _draw(axes, rows, quantity, look)
    for axes, (_, label) in zip(grid[:, 0], _PANELS, strict=True):
        axes.set_ylabel(label)
    handles = [
        marks.line(name, color=method_color(method), linestyle=styles[name], linewidth=2.2)
        for name, method in methods.items()
    ]
    seeds = data.groupby(["model", "setting"])["seed"].nunique()
    note = f"strong: mean, faint: each seed, n = {span(seeds)}"
    marks.place_legend(figure, handles, note)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, quantity: str, look: dict[str, Any]) -> None:
    """One setting in one panel: ``rows`` of several seeds and epochs."""
    seeds = rows.pivot_table(index="epoch", columns="seed", values=quantity)
    if seeds.shape[1] > 1:
        for seed in seeds:
            curve = seeds[seed].dropna()
            axes.plot(curve.index, curve, **look, linewidth=0.9, alpha=0.35)
    mean = seeds.dropna().mean(axis=1)
    axes.plot(mean.index, mean, **look, linewidth=2.2, marker="o" if len(mean) == 1 else None)


def _line_styles(methods: dict[str, str]) -> dict[str, Any]:
    """A line style for each setting: they differ within a method."""
    used: dict[str, int] = {}
    styles = {}
    for setting, method in methods.items():
        index = used.get(method, 0)
        used[method] = index + 1
        styles[setting] = _STYLES[index % len(_STYLES)]
    return styles


def _setting(row: pd.Series) -> str:
    """Label of a curve: the method, and its bits where they are known."""
    label = method_label(row["method"])
    for column, letter in (("weight_bits", " W"), ("activation_bits", "A")):
        if column in row and pd.notna(row[column]):
            label += f"{letter}{int(row[column])}"
    return label
