"""The number line: a tensor's histogram under its grid, the error of each value, the trade-off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import BLUE, GREY, ORANGE, VERMILLION

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AffineData:
    """What one picture shows.

    ``edges [B + 1]`` and ``counts [B]`` are the tensor's histogram; ``levels`` the real values of
    the integers; ``x`` and ``error`` the error curve; ``fractions``, ``rounding``, ``clipping`` the
    trade-off, with ``fraction`` the one in use.
    """

    tensor: str
    edges: Array
    counts: Array
    levels: Array
    integers: tuple[int, int, int]  # qmin, zero point, qmax
    x: Array
    error: Array
    fractions: Array
    rounding: Array
    clipping: Array
    fraction: float


class AffinePlot(LiveFigure):
    """Left: histogram under the grid, error below it. Right: rounding against clipping error."""

    def __init__(self) -> None:
        self._shown: tuple[str, bool, float] | None = None
        self._floor = 1e-12
        super().__init__(9.4, 4.3)

    def build(self, figure: Figure) -> None:
        grid = figure.add_gridspec(
            2, 2, width_ratios=[1.75, 1], height_ratios=[1.9, 1],
            left=0.075, right=0.985, bottom=0.125, top=0.9, wspace=0.24, hspace=0.14,
        )  # fmt: skip
        self.top = figure.add_subplot(grid[0, 0])
        self.low = figure.add_subplot(grid[1, 0], sharex=self.top)
        self.side = figure.add_subplot(grid[:, 1])
        self._build_histogram()
        self._build_error()
        self._build_trade_off()

    def _build_histogram(self) -> None:
        self.bars = self.top.stairs([1], [0, 1], fill=True, color=GREY, alpha=0.35)
        self.top.set_yscale("log")
        self.top.set_ylabel("values in bin (log)")
        self.top.tick_params(labelbottom=False)
        self.top.grid(False)
        self.ticks = self.top.vlines([0], 0, 1, color=BLUE, linewidth=0.8, alpha=0.75,
                                     transform=self.top.get_xaxis_transform())  # fmt: skip
        self.cut = [self.top.axvspan(0, 0, color=VERMILLION, alpha=0.16, lw=0) for _ in range(2)]
        self.labels = [
            self.top.text(0, 1.01, "", transform=self.top.get_xaxis_transform(), color=BLUE,
                          ha="center", va="bottom", fontweight="bold", fontsize=9)
            for _ in range(3)
        ]  # fmt: skip
        self.top.text(0, 1.1, "integers", transform=self.top.transAxes, color=BLUE, fontsize=9)
        self.move(*self.cut, self.ticks, *self.labels)

    def _build_error(self) -> None:
        (self.curve,) = self.low.plot([], [], color=VERMILLION, linewidth=1.1)
        self.low.set_ylabel("error")
        self.low.set_xlabel("value, in units of the tensor")
        self.move(self.curve)

    def _build_trade_off(self) -> None:
        self.side.set_yscale("log")
        self.side.set_xlabel("range used [% of the tensor's]")
        self.side.set_title("mean squared error", fontsize=10, pad=8)
        (self.rounding,) = self.side.plot([], [], color=BLUE, label="rounding")
        (self.clipping,) = self.side.plot([], [], color=ORANGE, label="clipping")
        (self.total,) = self.side.plot([], [], color=VERMILLION, label="both", linewidth=2.4)
        (self.here,) = self.side.plot([], [], "o", color=VERMILLION, markersize=9, mec="white")
        self.side.set_xlim(5, 105)
        self.side.legend(loc="lower left", fontsize=9, frameon=True, framealpha=0.9)
        self.move(self.rounding, self.clipping, self.total, self.here)

    def show(self, data: AffineData) -> None:
        """Bring the figure to ``data``; the axes change with the tensor and the grid's sides."""
        levels = data.levels
        wasted = bool(levels[0] < 0 <= data.edges[0])  # integers where the tensor has no values
        top = float(np.ceil(np.log10((data.rounding + data.clipping).max())))  # a whole decade
        if (data.tensor, wasted, top) != self._shown:
            self._shown = (data.tensor, wasted, top)
            self._new_axes(data, wasted, 10.0**top)
        self.ticks.set_segments([[(x, 0.0), (x, 1.0)] for x in levels])
        self.ticks.set_linewidth(0.9 if len(levels) <= 32 else 0.35)
        left, right = self.top.get_xlim()
        half = (levels[1] - levels[0]) / 2
        for span, (a, b) in zip(
            self.cut, ((left, levels[0] - half), (levels[-1] + half, right)), strict=True
        ):
            span.set_x(min(a, b))
            span.set_width(max(0.0, b - a))
        self._write_integers(data)
        self.curve.set_data(data.x, data.error)
        percent = 100 * data.fractions
        for line, values in (
            (self.rounding, data.rounding),
            (self.clipping, data.clipping),
            (self.total, data.rounding + data.clipping),
        ):
            line.set_data(percent, np.maximum(values, self._floor))
        at = int(np.abs(data.fractions - data.fraction).argmin())
        self.here.set_data([percent[at]], [data.rounding[at] + data.clipping[at]])

    def _write_integers(self, data: AffineData) -> None:
        """The lowest, highest and zero's integer above their places, unless two would overlap."""
        qmin, zero_point, qmax = data.integers
        places = ((data.levels[0], qmin), (data.levels[-1], qmax), (0.0, zero_point))
        width = np.diff(self.top.get_xlim())[0]
        taken: list[float] = []
        for label, (x, integer) in zip(self.labels, places, strict=True):
            free = all(abs(x - other) > 0.07 * width for other in taken)
            label.set_text(str(integer) if free else "")
            label.set_x(x)
            taken.append(x)

    def _new_axes(self, data: AffineData, wasted: bool, error: float) -> None:
        self.bars.set_data(data.counts, data.edges)
        self.top.set_ylim(0.5, 2.0 * max(1.0, data.counts.max()))
        first = -data.edges[-1] if wasted else data.edges[0]
        span = data.edges[-1] - first
        self.top.set_xlim(first - 0.04 * span, data.edges[-1] + 0.04 * span)
        reach = 0.26 * span
        self.low.set_ylim(-reach, reach)
        self._floor = error * 1e-6
        self.side.set_ylim(self._floor, error * 2)
        self.repaint(self._shown)
