"""Five observers on one tensor: the range each picks, what it pays, and the levels of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import BLUE, GREY, ORANGE, VERMILLION, observer_color

Array = NDArray[np.float64]

#: Where the axis of the SQNR ends [dB]: evenly spread values reach 58 in 8 bits.
MOST_DB = 70.0
#: Errors on the axis, in percent of the signal's power.
LEAST, MOST = 1e-5, 300.0


@dataclass(frozen=True)
class ObserversData:
    """What one picture shows: a histogram, and K observers beside each other.

    ``edges [B + 1]`` and ``counts [B]`` are the tensor's histogram; ``low`` and ``high`` the ends
    of each observer's levels, in units of the tensor; ``rounding`` and ``clipping`` its mean
    squared errors in percent of the signal's power; ``sqnr_db`` what both make of it (all ``[K]``).
    ``levels`` are the real values of the integers of ``chosen``.
    """

    tensor: str
    symmetric: bool
    edges: Array
    counts: Array
    observers: tuple[str, ...]
    low: Array
    high: Array
    rounding: Array
    clipping: Array
    sqnr_db: Array
    chosen: str
    levels: Array


class ObserversPlot(LiveFigure):
    """Left: histogram under the levels of one observer, all ranges below. Right: errors, SQNR."""

    def __init__(self, observers: tuple[str, ...]) -> None:
        self.observers = observers
        self._shown: tuple[str, float, float] | None = None
        super().__init__(9.4, 4.7)

    def build(self, figure: Figure) -> None:
        self.top = figure.add_axes((0.135, 0.515, 0.475, 0.42))
        self.strip = figure.add_axes((0.135, 0.115, 0.475, 0.3), sharex=self.top)
        self.errors = figure.add_axes((0.755, 0.605, 0.225, 0.33))
        self.bars = figure.add_axes((0.755, 0.115, 0.225, 0.3))  # rows level with the strip's
        self._build_histogram()
        self._build_ranges()
        self._build_errors()
        self._build_sqnr()

    def _build_histogram(self) -> None:
        self.steps = self.top.stairs([1], [0, 1], fill=True, color=GREY, alpha=0.35)
        self.top.set_yscale("log")
        self.top.minorticks_off()  # ticks that nobody sees cost time as well
        self.top.set_ylabel("values in bin (log)")
        self.top.tick_params(labelbottom=False)
        self.top.grid(False)
        self.ticks = self.top.vlines([0], 0, 1, transform=self.top.get_xaxis_transform())
        self.cut = [self.top.axvspan(0, 0, color=VERMILLION, alpha=0.16, lw=0) for _ in range(2)]
        self.whose = self.top.text(0, 1.03, "", transform=self.top.transAxes, fontweight="bold",
                                   fontsize=10)  # fmt: skip
        self.move(*self.cut, self.ticks, self.whose)

    def _build_ranges(self) -> None:
        _rows(self.strip, self.observers)
        self.strip.set_xlabel("value, in units of the tensor")
        self.strip.set_title("range of each observer", fontsize=10, pad=4)
        self.ranges = [
            self.strip.plot([], [], color=observer_color(name), solid_capstyle="butt")[0]
            for name in self.observers
        ]
        self.move(*self.ranges)

    def _build_errors(self) -> None:
        _rows(self.errors, self.observers)
        self.errors.set_xscale("log")
        self.errors.set_xlim(LEAST, MOST)
        self.errors.set_xticks([1e-4, 1e-2, 1, 100], ["0.0001", "0.01", "1", "100"])
        self.errors.minorticks_off()
        self.errors.set_title("error [% of signal power]", fontsize=10, pad=4)
        rows = np.arange(len(self.observers))
        self.split = self.errors.hlines(rows, LEAST, LEAST, color=GREY, linewidth=1)
        (self.rounding,) = self.errors.plot([], [], "o", color=BLUE, ms=7, label="rounding")
        (self.clipping,) = self.errors.plot([], [], "s", color=ORANGE, ms=7, label="clipping")
        self.errors.legend(
            loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=2, fontsize=9,
            handletextpad=0.1, columnspacing=1.0,
        )  # fmt: skip
        self.move(self.split, self.rounding, self.clipping)

    def _build_sqnr(self) -> None:
        _rows(self.bars, self.observers)
        self.bars.tick_params(labelleft=False)
        self.bars.set_xlim(0, MOST_DB)
        self.bars.set_xlabel("SQNR [dB], more is better")
        self.lengths = [
            self.bars.plot([], [], color=observer_color(name), solid_capstyle="butt")[0]
            for name in self.observers
        ]
        self.numbers = [
            self.bars.text(0, row, "", va="center", fontsize=9) for row in range(len(self.lengths))
        ]
        self.move(*self.lengths, *self.numbers)

    def show(self, data: ObserversData) -> None:
        """Bring the figure to ``data``; the axis of values changes with what has to fit on it."""
        span = _span(data)
        if (data.tensor, *span) != self._shown:
            self._shown = (data.tensor, *span)
            self._new_axes(data, span)
        self._show_levels(data)
        self._show_rows(data)
        self._show_errors(data)

    def _show_rows(self, data: ObserversData) -> None:
        """Range and SQNR of each observer, the chosen one's thick."""
        for row, name in enumerate(self.observers):
            here = name == data.chosen
            self.ranges[row].set_data([data.low[row], data.high[row]], [row, row])
            self.ranges[row].set_linewidth(11 if here else 5)
            self.ranges[row].set_alpha(1.0 if here else 0.6)
            length = float(np.clip(data.sqnr_db[row], 0, MOST_DB))
            self.lengths[row].set_data([0, length], [row, row])
            self.lengths[row].set_linewidth(11 if here else 5)
            self.lengths[row].set_alpha(1.0 if here else 0.6)
            self.numbers[row].set_x(length + MOST_DB / 40)
            self.numbers[row].set_text(_db(data.sqnr_db[row]))
            self.numbers[row].set_fontweight("bold" if here else "normal")

    def _show_levels(self, data: ObserversData) -> None:
        """Levels of the chosen observer, and what lies more than half a step outside them."""
        levels = data.levels
        self.ticks.set_segments([[(x, 0.0), (x, 1.0)] for x in levels])
        color = observer_color(data.chosen)
        self.ticks.set_color(color)
        self.whose.set_text(f"levels of {data.chosen.replace('_', ' ')}")
        self.whose.set_color(color)
        self.ticks.set_alpha(0.85 if len(levels) <= 32 else 0.5)
        self.ticks.set_linewidth(1.0 if len(levels) <= 32 else 0.35)
        left, right = self.top.get_xlim()
        half = (levels[1] - levels[0]) / 2
        sides = ((left, levels[0] - half), (levels[-1] + half, right))
        for span, (a, b) in zip(self.cut, sides, strict=True):
            span.set_x(a)
            span.set_width(max(0.0, b - a))

    def _show_errors(self, data: ObserversData) -> None:
        rows = np.arange(len(self.observers))
        rounding = np.clip(data.rounding, LEAST, MOST)
        clipping = np.where(data.clipping > 0, np.clip(data.clipping, LEAST, MOST), np.nan)
        self.rounding.set_data(rounding, rows)
        self.clipping.set_data(clipping, rows)
        ends = np.where(np.isnan(clipping), rounding, clipping)
        segments = zip(rounding, ends, rows, strict=True)
        self.split.set_segments([[(a, row), (b, row)] for a, b, row in segments])

    def _new_axes(self, data: ObserversData, span: tuple[float, float]) -> None:
        self.steps.set_data(data.counts, data.edges)
        self.top.set_ylim(0.5, 2.0 * max(1.0, data.counts.max()))
        self.top.set_xlim(*span)
        self.repaint(self._shown)


def _rows(axes: Axes, observers: tuple[str, ...]) -> None:
    """One row for each observer, the first on top."""
    axes.set_ylim(len(observers) - 0.4, -0.6)
    axes.set_yticks(range(len(observers)), [name.replace("_", " ") for name in observers])
    axes.grid(False, axis="y")


def _span(data: ObserversData) -> tuple[float, float]:
    """What the axis of values shows: the tensor and all ranges.

    It takes one of few lengths, so that it stays as sliders move.
    """
    first, last = float(data.edges[0]), float(data.edges[-1])
    if data.symmetric:
        last = max(-first, last)
        first = -last
    for margin in (0.05, 0.2):
        beyond = margin * (last - first)
        if data.low.min() >= first - beyond and data.high.max() <= last + beyond:
            break
    return first - beyond, last + beyond


def _db(value: float) -> str:
    return "exact" if np.isinf(value) and value > 0 else f"{value:.1f}"
