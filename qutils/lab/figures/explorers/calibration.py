"""Calibration of one activation: the range found so far, on unseen data, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import GREY, REFERENCE, VERMILLION, observer_color

Array = NDArray[np.float64]

#: Ends of the axes: width against that of the whole split [%], and SQNR [dB].
MOST_PERCENT, MOST_DB = 190.0, 56.0


@dataclass(frozen=True)
class CalibrationData:
    """What one picture shows of one activation.

    ``edges [B + 1]`` and ``counts [B]`` are the histogram of unseen pictures; ``low``, ``high`` the
    ends of the levels that the calibration pictures gave, ``whole_low``, ``whole_high`` those of
    the whole split, in units of the tensor. By number of ``pictures [K]``: the ``width`` of the
    range in percent of the whole split's, and ``sqnr_db`` on unseen pictures, of this source and
    of pictures drawn at random. ``at`` is the index of the number in use.
    """

    tensor: str
    observer: str
    source: str
    edges: Array
    counts: Array
    low: float
    high: float
    half_step: float
    whole_low: float
    whole_high: float
    pictures: Array
    width: Array
    sqnr_db: Array
    random_width: Array
    random_sqnr_db: Array
    whole_sqnr_db: float
    at: int


class CalibrationPlot(LiveFigure):
    """Left: unseen data and the range it meets. Right: width and SQNR by number of pictures."""

    def __init__(self) -> None:
        self._shown: tuple[str, float, float] | None = None
        super().__init__(9.4, 4.6)

    def build(self, figure: Figure) -> None:
        self.top = figure.add_axes((0.135, 0.345, 0.43, 0.585))
        self.strip = figure.add_axes((0.135, 0.115, 0.43, 0.155), sharex=self.top)
        self.widths = figure.add_axes((0.655, 0.6, 0.325, 0.33))
        self.errors = figure.add_axes((0.655, 0.185, 0.325, 0.33))
        self._build_histogram()
        self._build_ranges()
        self.curve, self.random, self.here = _build_curve(self.widths)
        self.widths.set_ylim(0, MOST_PERCENT)
        self.widths.axhline(100, **REFERENCE)
        self.widths.set_title("width of range [% of whole split's]", fontsize=10, pad=4)
        self.widths.tick_params(labelbottom=False)
        self.sqnr, self.random_sqnr, self.here_sqnr = _build_curve(self.errors)
        self.errors.set_ylim(0, MOST_DB)
        self.whole = self.errors.axhline(0, **REFERENCE)
        self.errors.set_title("SQNR on unseen pictures [dB]", fontsize=10, pad=4)
        self.errors.set_xlabel("calibration pictures (log)")
        self.move(self.whole)
        for lines in ((self.random, self.curve, self.here), (self.random_sqnr, self.sqnr)):
            self.move(*lines)
        self.move(self.here_sqnr)
        self._build_legend()

    def _build_histogram(self) -> None:
        self.steps = self.top.stairs([1], [0, 1], fill=True, color=GREY, alpha=0.35)
        self.top.set_yscale("log")
        self.top.minorticks_off()  # ticks that nobody sees cost time as well
        self.top.set_ylabel("unseen values in bin (log)")
        self.top.tick_params(labelbottom=False)
        self.top.grid(False)
        self.cut = [self.top.axvspan(0, 0, color=VERMILLION, alpha=0.16, lw=0) for _ in range(2)]
        self.ends = self.top.vlines([0], 0, 1, transform=self.top.get_xaxis_transform())
        self.text = self.top.text(0, 1.03, "", transform=self.top.transAxes, fontsize=10,
                                  fontweight="bold")  # fmt: skip
        self.move(*self.cut, self.ends, self.text)

    def _build_ranges(self) -> None:
        self.strip.set_ylim(1.6, -0.6)
        self.strip.set_yticks([0, 1], ["these pictures", "whole split"])
        self.strip.grid(False, axis="y")
        self.strip.set_xlabel("value, in units of the tensor")
        (self.found,) = self.strip.plot([], [], linewidth=11, solid_capstyle="butt")
        (self.reference,) = self.strip.plot([], [], color=GREY, linewidth=6, solid_capstyle="butt")
        self.move(self.found, self.reference)

    def _build_legend(self) -> None:
        """What the lines are; the thick one is named by the note under the picture."""
        handles = [
            Line2D([], [], color="#333333", linewidth=2.4, label="these pictures"),
            Line2D([], [], color=GREY, linewidth=1.2, label="random ones"),
            Line2D([], [], label="whole split", **REFERENCE),
        ]
        self.errors.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=3, fontsize=8,
            handlelength=1.5, columnspacing=1.0, handletextpad=0.4, borderaxespad=0,
        )  # fmt: skip

    def show(self, data: CalibrationData) -> None:
        """Bring the figure to ``data``; the axis of values changes with what has to fit on it."""
        span = _span(data)
        if (data.tensor, *span) != self._shown:
            self._shown = (data.tensor, *span)
            self.steps.set_data(data.counts, data.edges)
            self.top.set_ylim(0.5, 2.0 * max(1.0, data.counts.max()))
            self.top.set_xlim(*span)
            self.errors.set_xlim(data.pictures[0] / 1.3, data.pictures[-1] * 1.3)
            self.widths.set_xlim(data.pictures[0] / 1.3, data.pictures[-1] * 1.3)
            for axes in (self.errors, self.widths):
                axes.set_xticks(data.pictures, [f"{n:g}" for n in data.pictures])
            self.repaint(self._shown)
        self._show_range(data, span)
        self._show_curves(data)

    def _show_range(self, data: CalibrationData, span: tuple[float, float]) -> None:
        color = observer_color(data.observer)
        self.ends.set_segments([[(x, 0.0), (x, 1.0)] for x in (data.low, data.high)])
        self.ends.set_color(color)
        self.found.set_data([data.low, data.high], [0, 0])
        self.found.set_color(color)
        self.reference.set_data([data.whole_low, data.whole_high], [1, 1])
        below, above = data.low - data.half_step, data.high + data.half_step
        for area, (a, b) in zip(self.cut, ((span[0], below), (above, span[1])), strict=True):
            area.set_x(min(a, b))
            area.set_width(max(0.0, b - a))
        n = int(data.pictures[data.at])
        pictures = "1 picture" if n == 1 else f"{n} pictures"
        self.text.set_text(f"{data.observer.replace('_', ' ')}, {pictures}, {data.source}")
        self.text.set_color(color)

    def _show_curves(self, data: CalibrationData) -> None:
        color = observer_color(data.observer)
        self.curve.set_data(data.pictures, np.minimum(data.width, MOST_PERCENT))
        self.random.set_data(data.pictures, np.minimum(data.random_width, MOST_PERCENT))
        self.sqnr.set_data(data.pictures, np.clip(data.sqnr_db, 0, MOST_DB))
        self.random_sqnr.set_data(data.pictures, np.clip(data.random_sqnr_db, 0, MOST_DB))
        n = [data.pictures[data.at]]
        self.here.set_data(n, [min(data.width[data.at], MOST_PERCENT)])
        self.here_sqnr.set_data(n, [np.clip(data.sqnr_db[data.at], 0, MOST_DB)])
        self.whole.set_ydata([np.clip(data.whole_sqnr_db, 0, MOST_DB)] * 2)
        for line in (self.curve, self.sqnr, self.here, self.here_sqnr):
            line.set_color(color)


def _build_curve(axes: Axes) -> tuple[Line2D, Line2D, Line2D]:
    """Lines of this source and of random pictures, and the point in use."""
    axes.set_xscale("log", base=2)
    (random,) = axes.plot([], [], color=GREY, linewidth=1.2)
    (curve,) = axes.plot([], [], linewidth=2.4)
    (here,) = axes.plot([], [], "o", markersize=9, mec="white")
    return curve, random, here


def _span(data: CalibrationData) -> tuple[float, float]:
    """What the axis of values shows: one of few lengths, so that it stays as sliders move."""
    first, last = float(data.edges[0]), float(data.edges[-1])
    lowest, highest = min(data.low, data.whole_low), max(data.high, data.whole_high)
    for margin in (0.1, 0.4, 1.0, 3.0):
        beyond = margin * (last - first)
        if lowest >= first - beyond and highest <= last + beyond:
            break
    return (first - beyond if lowest < 0 else first), last + beyond
