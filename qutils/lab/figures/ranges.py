"""Where each observer clips a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from qutils.errors import InvalidInputError
from qutils.lab.figures.theme import GREY, observer_color, themed


@themed
def clipping_ranges(
    edges: ArrayLike,
    counts: ArrayLike,
    ranges: Mapping[str, tuple[float, float]],
    title: str = "",
    xlabel: str = "value [-]",
) -> Figure:
    """Histogram of a tensor (log counts), above it the range ``(low, high)`` of each observer.

    Shapes: ``edges [B + 1]``, ``counts [B]``. Each range says what share of the values it clips,
    to the resolution of the histogram.

    Raises:
        InvalidInputError: lengths do not match, counts empty, no range, or one with low > high.
    """
    bounds, heights = _histogram(edges, counts)
    _check_ranges(ranges)
    figure = Figure(figsize=(7.2, 3.0 + 0.32 * len(ranges)), layout="constrained")
    strip, panel = figure.subplots(
        2, 1, sharex=True, height_ratios=[0.32 * len(ranges) + 0.25, 2.4]
    )
    panel.stairs(heights, bounds, fill=True, color=GREY, alpha=0.35)
    panel.set_yscale("log")
    panel.set_ylim(bottom=0.5)
    panel.set_xlabel(xlabel)
    panel.set_ylabel("values in bin (log)")
    for row, (observer, (low, high)) in enumerate(ranges.items()):
        color = observer_color(observer)
        for x in (low, high):
            panel.axvline(x, color=color, linewidth=1.2)
        strip.plot([low, high], [row, row], color=color, linewidth=3, marker="|", markersize=11)
        _write_range(strip, row, low, high, _clipped(bounds, heights, low, high))
    strip.set_yticks(range(len(ranges)), [name.replace("_", " ") for name in ranges])
    strip.set_ylim(len(ranges) - 0.5, -0.5)
    strip.grid(False, axis="y")
    strip.tick_params(bottom=False, labelbottom=False)
    strip.set_title(title)
    return figure


def _write_range(strip: Axes, row: int, low: float, high: float, clipped: float) -> None:
    """The numbers of one range, in a column right of the strip."""
    strip.annotate(
        f"{low:.3g} to {high:.3g}, clips {100 * clipped:.2g} %",
        (1.01, row),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize="small",
    )


def _clipped(
    edges: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float
) -> float:
    """Share of the values outside ``[low, high]``; a bin cut by a bound counts in proportion."""
    width = np.maximum(np.diff(edges), np.finfo(float).tiny)
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) / width
    return float(max(0.0, 1 - (counts * inside).sum() / counts.sum()))


def _histogram(edges: ArrayLike, counts: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    bounds, heights = np.asarray(edges, float), np.asarray(counts, float)
    if bounds.ndim != 1 or heights.shape != (bounds.size - 1,) or not heights.size:
        raise InvalidInputError(
            f"edges {list(bounds.shape)} and counts {list(heights.shape)}: B bins have B + 1 edges"
        )
    if heights.sum() <= 0 or (np.diff(bounds) <= 0).any():
        raise InvalidInputError("the histogram is empty, or its edges do not rise")
    return bounds, heights


def _check_ranges(ranges: Mapping[str, tuple[float, float]]) -> None:
    if not ranges:
        raise InvalidInputError("no clipping range to draw: give at least one observer")
    for observer, (low, high) in ranges.items():
        if not low <= high:
            raise InvalidInputError(
                f"range of {observer} runs from {low} to {high}: low > high or NaN"
            )
