"""Learning curves: loss and accuracy over epochs, a colour for each setting, seeds thin."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from qutils.lab.figures import marks
from qutils.lab.figures.rows import checked, span
from qutils.lab.figures.theme import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    method_color,
    method_label,
    themed,
)

_PANELS = (("loss", "training loss [nats]"), ("accuracy", "training accuracy [%]"))
#: Colours of the settings, from few bits to many; not that of PTQ.
_COLORS = (BLACK, ORANGE, GREEN, PURPLE, BLUE, SKY)
#: Lines of the settings once the colours are used up.
_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


@themed
def learning_curves(df: pd.DataFrame) -> Figure:
    """Loss [nats, logarithmic] and accuracy [%] by epoch, a column per model.

    Columns: ``model method seed epoch loss accuracy``; ``weight_bits`` and ``activation_bits``
    tell several settings of a method apart. A setting has one colour, its seeds are thin lines
    and their mean, taken where all seeds have a point, is a strong one.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("model", "method", "seed", "epoch", "loss", "accuracy"))
    data = df.assign(setting=[_setting(row) for _, row in df.iterrows()])
    models = list(dict.fromkeys(data["model"]))
    figure = Figure(figsize=(0.8 + 4.2 * len(models), 6.4), layout="constrained")
    grid = figure.subplots(2, len(models), squeeze=False, sharex="col", sharey="row")
    looks = _looks(data)
    for column, model in enumerate(models):
        marks.title(grid[0, column], model)
        grid[1, column].set_xlabel("epoch")
        of_model = data[data["model"] == model]
        for name, look in looks.items():
            rows = of_model[of_model["setting"] == name]
            for axes, (quantity, _) in zip(grid[:, column], _PANELS, strict=True):
                _draw(axes, rows, quantity, look)
    for axes, (_, label) in zip(grid[:, 0], _PANELS, strict=True):
        axes.set_ylabel(label)
    grid[0, 0].set_yscale("log")
    grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    grid[0, 0].yaxis.set_major_formatter("{x:g}")
    grid[0, 0].yaxis.set_minor_formatter(NullFormatter())
    handles = [marks.line(name, **look, linewidth=2.2) for name, look in looks.items()]
    marks.place_legend(figure, handles, _note(data))
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, quantity: str, look: dict[str, Any]) -> None:
    """One setting in one panel: ``rows`` of several seeds and epochs."""
    seeds = rows.pivot_table(index="epoch", columns="seed", values=quantity)
    if seeds.shape[1] > 1:
        for seed in seeds:
            curve = seeds[seed].dropna()
            axes.plot(curve.index, curve, **look, linewidth=0.8, alpha=0.45)
    mean = seeds.dropna().mean(axis=1)
    axes.plot(mean.index, mean, **look, linewidth=2, marker="o" if len(mean) == 1 else None)


def _looks(data: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and line of each setting, from few bits to many; a lone one has its method's."""
    bits = [name for name in ("weight_bits", "activation_bits") if name in data]
    settings = data.sort_values(["method", *bits], kind="stable").drop_duplicates("setting")
    if len(settings) == 1:
        (only,) = settings.itertuples()
        return {only.setting: {"color": method_color(only.method), "linestyle": "-"}}
    count = len(_COLORS)
    return {
        name: {"color": _COLORS[i % count], "linestyle": _STYLES[i // count % len(_STYLES)]}
        for i, name in enumerate(settings["setting"])
    }


def _note(data: pd.DataFrame) -> str:
    """What thin and strong lines are, for the foot of the figure."""
    seeds = data.groupby(["model", "setting"])["seed"].nunique()
    if seeds.max() < 2:
        return "one seed"
    return f"strong: mean over seeds, thin: each seed, n = {span(seeds)}"


def _setting(row: pd.Series) -> str:
    """Label of a curve: the method, and its bits where they are known."""
    label = method_label(row["method"])
    for column, letter in (("weight_bits", " W"), ("activation_bits", "A")):
        if column in row and pd.notna(row[column]):
            label += f"{letter}{int(row[column])}"
    return label
