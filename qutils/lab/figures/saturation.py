"""What CPUs without VNNI make of a model, and of the same model with smaller weights."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.saturation import REDUCED, Outcome, Saturation
from qutils.evaluate.bench.accuracy import wilson
from qutils.lab.figures.theme import BLUE, REFERENCE, VERMILLION, model_label, themed

#: By bits of the weights, and whether their pairs fit into 16 bits.
_WIDTHS = {
    (8, False): "8 bits\n−127..127",
    (REDUCED, False): "7 bits\n−63..63",
    (8, True): "8 bits,\npairs fit",
}
_PATHS = {
    True: ("with VNNI: sums in 32 bits", BLUE),
    False: ("without: pairs in 16 bits", VERMILLION),
}
_BAR = 0.38


@themed
def saturation_paths(found: Mapping[str, Saturation]) -> Figure:
    """Accuracy and SQNR of each model, by bits of weights and kind of CPU; a column a model.

    The grey dashed line is the float model; lines through points are 95 % intervals (Wilson).

    Raises:
        InvalidInputError: no model.
    """
    if not found:
        raise InvalidInputError("there is nothing to draw: give at least one model's saturation")
    figure = Figure(figsize=(1.2 + 3.9 * len(found), 5.6), layout="constrained")
    grid = figure.subplots(2, len(found), squeeze=False, sharex=True, sharey="row")
    for (accuracy, sqnr), (name, one) in zip(grid.T, found.items(), strict=True):
        _draw_accuracy(accuracy, one)
        _draw_sqnr(sqnr, one)
        accuracy.set_title(f"{model_label(name)}\n{one.label}, n = {one.n:,}")
        sqnr.set_xticks(range(len(_WIDTHS)), list(_WIDTHS.values()))
        sqnr.set_xlabel("weights")
    grid[0, 0].set_ylabel("top-1 accuracy [%]")
    grid[1, 0].set_ylabel("SQNR of the outputs [dB]")
    patches = [Patch(facecolor=color, label=label) for label, color in _PATHS.values()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    return figure


def _draw_accuracy(axes: Axes, one: Saturation) -> None:
    """Points, since their axis does not start at 0."""
    axes.axhline(100 * one.float_hits / one.n, **REFERENCE)
    for outcome in one.outcomes:
        place, color = _place(outcome), _PATHS[outcome.vnni][1]
        low, high = wilson(outcome.hits, outcome.n)
        axes.plot([place] * 2, [low, high], color=color, linewidth=1.6)
        axes.plot(place, outcome.top1, "o", color=color, markersize=7)
        axes.annotate(f"{outcome.top1:.1f}", (place, outcome.top1), (7, 0),
                      textcoords="offset points", va="center", fontsize="small",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
    axes.grid(False, axis="x")
    axes.set_xlim(-0.6, len(_WIDTHS) - 0.4)


def _draw_sqnr(axes: Axes, one: Saturation) -> None:
    values = [outcome.sqnr_db for outcome in one.outcomes]
    colors = [_PATHS[outcome.vnni][1] for outcome in one.outcomes]
    bars = axes.bar([_place(outcome) for outcome in one.outcomes], values, _BAR, color=colors)
    axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=2, fontsize="small")
    axes.margins(y=0.15)
    axes.grid(False, axis="x")


def _place(outcome: Outcome) -> float:
    return list(_WIDTHS).index((outcome.weight_bits, outcome.safe)) + (_BAR / 2) * (
        -1 if outcome.vnni else 1
    )
