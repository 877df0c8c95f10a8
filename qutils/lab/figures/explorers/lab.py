"""A whole network under one setting: accuracy, every layer, one tensor, flipped pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    METHOD_COLORS,
    METHOD_LABELS,
    REFERENCE,
    SKY,
    VERMILLION,
    observer_color,
)

Array = NDArray[np.float64]

#: Ends of the axis of SQNR [dB]; what lies beyond is drawn at the end, its number beside it.
LEAST_DB, MOST_DB = 0.0, 55.0
#: Pictures shown, in rows and columns, and pixels of one with its frame.
ROWS, COLUMNS, TILE = 2, 6, 64
#: Colour of a flip's frame, by what became of the right answer.
VERDICT_COLORS = {"lost": VERMILLION, "gained": GREEN, "neither": GREY, "unknown": GREY}
#: Inches; and the share of them that the layers' axes take.
HEIGHT, LAYERS = 6.4, 0.755
#: More levels than these would fill the axis.
MOST_LEVELS = 64


@dataclass(frozen=True)
class Thumbnail:
    """One picture that flipped: ``pixels [H, W, 3]`` in 0..1, two lines of text, the verdict."""

    pixels: NDArray[np.float64]
    before: str
    after: str
    verdict: str


@dataclass(frozen=True)
class LabData:
    """What one picture shows.

    ``layers [L]`` with ``sqnr_db [L]`` in order of execution, ``worst`` and ``chosen`` (or None)
    among them. ``edges [B + 1]``, ``counts [B]`` are the histogram of ``tensor``; ``low`` and
    ``high [R]`` the ranges of its R scales, which ``half_steps [R]`` beyond them still round to;
    ``levels`` are the values of its integers (empty: many).
    ``thumbnails`` are the first of ``flipped``.
    """

    model: str
    method: str  # ptq or qat
    top1: float
    interval: tuple[float, float]
    float_top1: float
    n: int
    layers: tuple[str, ...]
    sqnr_db: Array
    worst: int
    chosen: int | None
    tensor: str
    tensor_sqnr_db: float
    observer: str
    edges: Array
    counts: Array
    low: Array
    high: Array
    half_steps: Array
    levels: Array
    thumbnails: tuple[Thumbnail, ...]
    flipped: int


class LabPlot(LiveFigure):
    """Top: accuracy. Left: SQNR of every layer. Right: one tensor's ranges; flipped pictures."""

    def __init__(self) -> None:
        self._rows: tuple[str, ...] = ()
        self._span: tuple[str, float, float, float] | None = None
        super().__init__(9.4, HEIGHT)

    def build(self, figure: Figure) -> None:
        self.top = figure.add_axes((0.012, 0.92, 0.976, 0.034))
        self.bars = figure.add_axes((0.15, 0.07, 0.285, LAYERS))
        self.hist = figure.add_axes((0.535, 0.575, 0.453, 0.25))
        self.strip = figure.add_axes((0.535, 0.485, 0.453, 0.075), sharex=self.hist)
        self.tiles = figure.add_axes((0.475, 0.005, 0.513, 0.35))
        self._build_accuracy()
        self._build_layers()
        self._build_tensor()
        self._build_tiles()

    def _build_accuracy(self) -> None:
        axes = self.top
        axes.set_xlim(0, 100)
        axes.set_ylim(-0.6, 0.6)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.grid(False)
        axes.tick_params(labelsize=9, pad=1)
        axes.set_xticks(range(0, 101, 20), [f"{x} %" for x in range(0, 101, 20)])
        axes.barh([0], [100], height=1.0, color="#EFEFEF", zorder=0)
        first, *_, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")  # at the ends there is no room beyond
        last.set_horizontalalignment("right")
        (self.hits,) = axes.barh([0], [0], height=1.0)
        (self.interval,) = axes.plot([], [], color=BLACK, linewidth=1.4, marker="|", markersize=9)
        self.reference = axes.axvline(0, **{**REFERENCE, "linewidth": 1.8, "zorder": 5})
        self.headline = axes.text(0, 1.35, "", fontsize=10.5, fontweight="bold",
                                  transform=axes.transAxes)  # fmt: skip
        self.legend = axes.text(1, 1.35, "", fontsize=9, color=GREY, ha="right",
                                transform=axes.transAxes)  # fmt: skip
        self.move(self.hits, self.interval, self.reference, self.headline, self.legend)

    def _build_layers(self) -> None:
        axes = self.bars
        axes.set_xlim(LEAST_DB, MOST_DB)
        axes.set_xlabel("SQNR against FP32 [dB], more is better", fontsize=9.5, labelpad=2)
        axes.set_title("every layer, from the input down", fontsize=10, pad=5)
        axes.tick_params(axis="y", labelsize=8.5, length=0)
        axes.tick_params(axis="x", labelsize=9)
        axes.grid(False, axis="y")
        self.lengths = LineCollection([], capstyle="butt")
        axes.add_collection(self.lengths, autolim=False)
        self.numbers: list[Any] = []
        self.move(self.lengths)

    def _build_tensor(self) -> None:
        self.steps = self.hist.stairs([1], [0, 1], fill=True, color=GREY, alpha=0.35)
        self.hist.set_yscale("log")
        self.hist.minorticks_off()
        self.hist.set_ylabel("values in bin (log)", fontsize=9.5)
        self.hist.tick_params(labelbottom=False, labelsize=9)
        self.hist.grid(False)
        self.ticks = self.hist.vlines([0], 0, 1, transform=self.hist.get_xaxis_transform())
        self.cut = [self.hist.axvspan(0, 0, color=VERMILLION, alpha=0.16, lw=0) for _ in range(2)]
        self.whose = self.hist.text(0, 1.035, "", transform=self.hist.transAxes, fontsize=10,
                                    fontweight="bold")  # fmt: skip
        self.strip.set_yticks([])
        self.strip.set_ylim(0, 1)
        self.strip.grid(False)
        self.strip.spines["left"].set_visible(False)
        self.strip.tick_params(labelsize=9)
        self.strip.set_xlabel("value, in units of the tensor", fontsize=9.5, labelpad=1)
        self.ranges = LineCollection([], capstyle="butt")
        self.strip.add_collection(self.ranges, autolim=False)
        self.how_many = self.strip.text(-0.012, 0.5, "", transform=self.strip.transAxes,
                                        fontsize=9, va="center", ha="right")  # fmt: skip
        self.move(self.hist, self.strip)  # as a whole: another tensor has other axes

    def _build_tiles(self) -> None:
        axes = self.tiles
        axes.axis("off")
        axes.set_xlim(0, COLUMNS)
        axes.set_ylim(ROWS, 0)
        blank = np.ones((ROWS, COLUMNS, 3))
        self.pictures = []
        self.captions = []
        for place in range(ROWS * COLUMNS):
            row, column = divmod(place, COLUMNS)
            extent = (column + 0.14, column + 0.86, row + 0.62, row + 0.04)
            self.pictures.append(axes.imshow(blank, extent=extent, aspect="auto",
                                             interpolation="nearest"))  # fmt: skip
            self.captions.append(axes.text(column + 0.5, row + 0.65, "", ha="center", va="top",
                                           fontsize=8, linespacing=1.1))  # fmt: skip
        axes.set_xlim(0, COLUMNS)
        axes.set_ylim(ROWS, 0)
        self.how_flipped = axes.text(0.06, -0.07, "", fontsize=10, fontweight="bold")
        self.move(*self.pictures, *self.captions, self.how_flipped)

    def show(self, data: LabData) -> None:
        """Bring the figure to ``data``; axes change with the model and with the tensor."""
        self._show_accuracy(data)
        self._show_layers(data)
        self._show_tensor(data)
        self._show_tiles(data)

    def _show_accuracy(self, data: LabData) -> None:
        self.hits.set_width(data.top1)
        self.hits.set_color(METHOD_COLORS[data.method])
        self.interval.set_data(data.interval, (0, 0))
        self.reference.set_xdata([data.float_top1] * 2)
        self.headline.set_text(
            f"{data.model}, {METHOD_LABELS[data.method]}: {data.top1:.1f} % right on "
            f"{data.n:,} test pictures, simulated"
        )
        self.legend.set_text(f"dashed: FP32, {data.float_top1:.1f} %;  black: 95 % interval")

    def _show_layers(self, data: LabData) -> None:
        if data.layers != self._rows:
            self._new_rows(data.layers)
        ends = np.clip(data.sqnr_db, LEAST_DB, MOST_DB)
        self.lengths.set_segments([[(LEAST_DB, y), (x, y)] for y, x in enumerate(ends)])
        row = LAYERS * HEIGHT * 72 / len(ends)  # points
        self.lengths.set_linewidth(min(0.62 * row, 18))
        self.lengths.set_color([BLUE if y == data.chosen else SKY for y in range(len(ends))])
        for y, (number, end) in enumerate(zip(self.numbers, ends, strict=True)):
            number.set_x(end + 0.7)
            lowest = "  lowest" if y == data.worst else ""
            number.set_text(f"{_decibels(data.sqnr_db[y])}{lowest}")
            number.set_fontweight("bold" if y == data.chosen else "normal")

    def _new_rows(self, layers: tuple[str, ...]) -> None:
        for number in self.numbers:
            self._moving.remove(number)
            number.remove()
        self.numbers = [self.bars.text(0, y, "", va="center", fontsize=8.5) for y in
                        range(len(layers))]  # fmt: skip
        self.move(*self.numbers)
        self.bars.set_yticks(range(len(layers)), layers)
        self.bars.set_ylim(len(layers) - 0.5, -0.5)
        self._rows = layers
        self.repaint()

    def _show_tensor(self, data: LabData) -> None:
        color = observer_color(data.observer)
        least = min(float(data.edges[0]), float(data.low.min()))
        most = max(float(data.edges[-1]), float(data.high.max()))
        span = (data.tensor, least, most, float(data.counts.sum()))
        if span != self._span:
            self._span = span
            self._new_axes(data, least, most)
        self.whose.set_text(f"{data.tensor}: {_decibels(data.tensor_sqnr_db)} dB by itself")
        self.ticks.set_segments([[(x, 0.0), (x, 1.0)] for x in data.levels])
        self.ticks.set_color(color)
        self.ticks.set_linewidth(1.0 if len(data.levels) <= 32 else 0.5)
        left, right = self.hist.get_xlim()
        low = float((data.low - data.half_steps).min())
        high = float((data.high + data.half_steps).max())
        for cut, (a, b) in zip(self.cut, ((left, low), (high, right)), strict=True):
            cut.set_x(min(a, b))
            cut.set_width(max(0.0, b - a))
        places = (np.arange(len(data.low)) + 0.5) / len(data.low)
        self.ranges.set_segments(
            [[(a, y), (b, y)] for a, b, y in zip(data.low, data.high, places, strict=True)]
        )
        self.ranges.set_linewidth(min(9.0, max(0.5, 0.75 * 0.075 * HEIGHT * 72 / len(data.low))))
        self.ranges.set_color(color)
        self.how_many.set_text("range" if len(data.low) == 1 else f"{len(data.low)} ranges")

    def _new_axes(self, data: LabData, least: float, most: float) -> None:
        self.steps.set_data(data.counts, data.edges)
        self.hist.set_ylim(0.5, 2.0 * max(1.0, data.counts.max()))
        margin = 0.04 * (most - least)
        self.hist.set_xlim(least - margin, most + margin)

    def _show_tiles(self, data: LabData) -> None:
        for place, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            shown = place < len(data.thumbnails)
            picture.set_visible(shown)
            caption.set_visible(shown)
            if shown:
                tile = data.thumbnails[place]
                picture.set_data(_framed(tile))
                caption.set_text(f"{tile.before}\n→ {tile.after}")
        self.how_flipped.set_text(_flipped(data))


def _flipped(data: LabData) -> str:
    if not data.flipped:
        return f"none of {data.n:,} answers changed"
    count = len(data.thumbnails)
    which = f"; FP32's surest {count}" if data.flipped > count else ""
    return f"{data.flipped} of {data.n:,} answers changed{which}  (✓ right)"


def _framed(tile: Thumbnail) -> NDArray[np.float64]:
    """The picture in a frame of its verdict's colour, ``[H + 2 f, W + 2 f, 3]``."""
    from matplotlib.colors import to_rgb

    height, width, _ = tile.pixels.shape
    frame = max(1, round(min(height, width) / 14))
    framed = np.empty((height + 2 * frame, width + 2 * frame, 3))
    framed[:] = to_rgb(VERDICT_COLORS[tile.verdict])
    framed[frame : frame + height, frame : frame + width] = tile.pixels
    return framed


def _decibels(value: float) -> str:
    return "exact" if math.isinf(value) and value > 0 else f"{value:.1f}"
