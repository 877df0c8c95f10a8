"""Integer arithmetic, drawn: matrices beside their integers, rounding rules, sums that saturate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from qutils.errors import InvalidInputError
from qutils.lab.figures.theme import BLUE, GREY, ORANGE, VERMILLION, themed

#: Negative blue, zero white, positive orange; light enough for text.
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#7FB8D9", "#FFFFFF", "#F0CB7A"])
INT16 = np.iinfo(np.int16)


@themed
def integer_twins(
    matrices: Mapping[str, tuple[ArrayLike, ArrayLike]], zero_points: Mapping[str, int]
) -> Figure:
    """Real matrices on top, their integers below, one column for each name.

    Args:
        matrices: name -> reals ``[R, C]`` and integers ``[R, C]``.
        zero_points: the integer that stands for 0, drawn white.

    Raises:
        InvalidInputError: nothing to draw, or two matrices of different shape.
    """
    if not matrices:
        raise InvalidInputError("there is no matrix to draw: give at least one")
    pairs = {name: (np.asarray(a), np.asarray(b)) for name, (a, b) in matrices.items()}
    for name, (real, integers) in pairs.items():
        if real.shape != integers.shape or real.ndim != 2:
            raise InvalidInputError(f"{name}: {real.shape} and {integers.shape} are not twins")
    widths = [real.shape[1] for real, _ in pairs.values()]
    figure = Figure(figsize=(1.0 + 0.62 * sum(widths), 5.2), layout="constrained")
    grid = figure.subplots(2, len(pairs), width_ratios=widths, squeeze=False)
    for column, (name, (real, integers)) in zip(grid.T, pairs.items(), strict=True):
        _heatmap(column[0], real, 0.0, ".2f")
        _heatmap(column[1], integers, zero_points[name], "d")
        column[0].set_title(f"{name}, real")
        column[1].set_title(f"{name}, integers")
    return figure


@themed
def rounding_rules(
    accumulators: ArrayLike, multiplier: float, outcomes: Mapping[str, ArrayLike]
) -> Figure:
    """Outputs of several rounding rules over the accumulators; where they part is marked.

    Shapes: ``accumulators [N]`` and every outcome ``[N]``, integers before the zero point. The
    grey line is ``multiplier * accumulator``, unrounded.

    Raises:
        InvalidInputError: less than two rules, or an outcome of another length.
    """
    acc = np.asarray(accumulators)
    found = {name: np.asarray(values) for name, values in outcomes.items()}
    if len(found) < 2 or any(values.shape != acc.shape for values in found.values()):
        raise InvalidInputError("give at least two rules, each with an output per accumulator")
    figure = Figure(figsize=(7.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(acc, multiplier * acc, color=GREY, linewidth=1, label="unrounded")
    styles: tuple[dict[str, Any], ...] = (
        {"marker": "o", "color": BLUE, "markersize": 9, "mfc": "white", "mew": 1.8},
        {"marker": "x", "color": ORANGE, "markersize": 7, "mew": 2.2},
    )
    for (name, values), style in zip(found.items(), styles, strict=False):
        axes.plot(acc, values, linestyle="none", label=name, **style)
    first, second = list(found.values())[:2]
    for x in acc[first != second]:
        axes.axvspan(x - 0.35, x + 0.35, color=VERMILLION, alpha=0.16, linewidth=0)
    axes.set_xlabel("accumulator (red: the rules part)")
    axes.set_ylabel("output, before the zero point")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left")
    return figure


@themed
def pair_saturation(sums: ArrayLike, exact: ArrayLike, clamped: ArrayLike) -> Figure:
    """Sums of two products against what 16 bits hold, and what clamping does to an output.

    Args:
        sums: integers ``[N]``. exact, clamped: one channel of the output ``[H, W]``.

    Raises:
        InvalidInputError: no sums, or outputs of different shape.
    """
    values, right, wrong = np.asarray(sums), np.asarray(exact), np.asarray(clamped)
    if not values.size or right.shape != wrong.shape or right.ndim != 2:
        raise InvalidInputError("give sums, and two outputs [H, W] of one shape")
    figure = Figure(figsize=(9.4, 3.2), layout="constrained")
    left, *maps = figure.subplots(1, 4, width_ratios=[2.1, 1, 1, 1])
    reach = 1.05 * max(float(np.abs(values).max()), float(INT16.max))
    left.hist(values, bins=120, range=(-reach, reach), color=GREY, log=True,
              histtype="stepfilled")  # fmt: skip
    for low, high in ((-reach, INT16.min), (INT16.max, reach)):
        left.axvspan(low, high, color=VERMILLION, alpha=0.18, linewidth=0)
    left.set_xlim(-reach, reach)
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.set_xlabel("sum of two products (red: not in 16 bits)")
    left.set_ylabel("pairs in bin (log)")
    top = max(int(right.max()), int(wrong.max()))
    difference = wrong.astype(int) - right
    for axes, picture, title in zip(
        maps, (right, wrong), ("exact", "pairs in 16 bits"), strict=False
    ):
        _picture(axes, picture, title, cmap="gray", vmin=0, vmax=top)
    span = max(1, int(np.abs(difference).max()))
    _picture(
        maps[2], difference, f"difference, −{span}..{span}", cmap=_SIGNED, vmin=-span, vmax=span
    )
    return figure


def _heatmap(axes: Axes, values: NDArray[Any], center: float, form: str) -> None:
    reach = max(float(np.abs(values - center).max()), 1e-9)
    sns.heatmap(
        values, ax=axes, annot=True, fmt=form, cmap=_SIGNED, vmin=center - reach,
        vmax=center + reach, cbar=False, square=True, linewidths=1, linecolor="#CFCFCF",
        annot_kws={"color": "black", "fontsize": 9}, xticklabels=False, yticklabels=False,
    )  # fmt: skip


def _picture(axes: Axes, values: NDArray[Any], title: str, **style: Any) -> None:
    axes.imshow(values, interpolation="nearest", **style)
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()
