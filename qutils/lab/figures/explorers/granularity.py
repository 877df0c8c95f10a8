"""One number line for each channel: its weights, its grid, and what the grid makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.raster import Pixels, Raster
from qutils.lab.figures.theme import GRANULARITY_COLORS, REFERENCE

Array = NDArray[np.float64]

#: Where the axis of the SQNR ends [dB].
MOST_DB = 55.0
#: Share of a channel's height left white below it, and of the height its weights are drawn in.
GAP, RUG = 0.14, 0.34


@dataclass(frozen=True)
class GranularityData:
    """What one picture shows: C channels, widest first, each in G pieces of one scale.

    ``weights [C, G, n]`` are the float values, ``scales`` and ``zero_points [C, G]`` their grid of
    ``qmin..qmax``; ``sqnr_db`` and ``effective_bits`` are ``[C]``.
    """

    layer: str
    granularity: str
    bits: int
    channels: tuple[int, ...]  # their numbers in the layer
    weights: Array
    scales: Array
    zero_points: Array
    qmin: int
    qmax: int
    sqnr_db: Array
    effective_bits: Array


class GranularityPlot(LiveFigure):
    """Left: each channel's weights over the levels of its grid. Right: SQNR, effective bits."""

    def __init__(self) -> None:
        self._shown = ""
        super().__init__(9.4, 4.6)

    def build(self, figure: Figure) -> None:
        self.lines = figure.add_axes((0.07, 0.12, 0.53, 0.8))
        self.bars = figure.add_axes((0.625, 0.12, 0.17, 0.8))
        self.dots = figure.add_axes((0.82, 0.12, 0.165, 0.8))
        self.lines.grid(False)
        self.lines.set_xlabel("weight")
        self.lines.text(0, 1.02, "black: weights, grey: their range, colour: levels of the grid",
                        transform=self.lines.transAxes, fontsize=9)  # fmt: skip
        self.lines.set_ylabel("channel, widest on top")
        self.raster = Raster(self.lines)
        self.lines.add_artist(self.raster)
        self._build_bars()
        self._build_dots()
        self.move(self.raster, self.bands, self.points)

    def _build_bars(self) -> None:
        self.bands = self.bars.hlines([0], 0, 1)
        self.bars.set_xlim(0, MOST_DB)
        self.bars.set_xlabel("SQNR [dB]")
        _rows_only(self.bars)

    def _build_dots(self) -> None:
        (self.points,) = self.dots.plot([], [], "o", clip_on=False)
        self.limit = self.dots.axvline(8, **REFERENCE)
        self.dots.set_xlim(0, 8.4)
        self.dots.set_xticks(range(0, 9, 2))
        self.dots.set_xlabel("effective bits")
        _rows_only(self.dots)
        self.move(self.limit)

    def show(self, data: GranularityData) -> None:
        """Bring the figure to ``data``; the axes change with the layer."""
        if data.layer != self._shown:
            self._shown = data.layer
            self._new_axes(data)
        color = GRANULARITY_COLORS[data.granularity]
        self.raster.pixels = number_lines(data, self.lines.get_xlim(), self.raster.size, color)
        rows = np.arange(len(data.channels))
        ends = np.clip(data.sqnr_db, 0, MOST_DB)
        self.bands.set_segments([[(0, y), (x, y)] for x, y in zip(ends, rows, strict=True)])
        self.bands.set_color(color)
        self.points.set_data(data.effective_bits, rows)
        self.points.set_color(color)
        self.limit.set_xdata([data.bits, data.bits])

    def _new_axes(self, data: GranularityData) -> None:
        count = len(data.channels)
        reach = 1.03 * np.abs(data.weights).max()
        self.lines.set_xlim(-reach, reach)
        every = 1 if count <= 24 else 4
        for axes in (self.lines, self.bars, self.dots):
            axes.set_ylim(count - 0.5, -0.5)
        self.lines.set_yticks(range(0, count, every), map(str, data.channels[::every]), fontsize=8)
        thickness = 0.62 * self.bars.bbox.height * 72 / self.figure.dpi / count
        self.bands.set_linewidth(thickness)
        self.points.set_markersize(float(np.clip(thickness, 3, 7)))
        self.repaint(self._shown)


def _rows_only(axes: Axes) -> None:
    axes.grid(False, axis="y")
    axes.tick_params(left=False, labelleft=False)


def number_lines(
    data: GranularityData, span: tuple[float, float], size: tuple[int, int], color: str
) -> Pixels:
    """The left panel as pixels, RGBA ``[height, width, 4]``, row by row.

    Grey from the lowest to the highest weight of a piece, coloured where a level of its grid lies,
    black ticks for the weights. Drawn as pixels: thousands of levels cost no more than three.
    """
    height, width = size
    count, pieces = data.scales.shape
    edges = np.linspace(*span, width + 1)
    at = np.arange(height) * count / height  # in channels, from the top
    channel = at.astype(int)
    inside = (at - channel) / (1 - GAP)  # 0..1 over the channel's height, above 1 is the gap
    piece = np.minimum((inside * pieces).astype(int), pieces - 1)
    within = inside * pieces - piece
    row = channel * pieces + piece  # [height]
    level, reach, rug = (x.reshape(count * pieces, width)[row] for x in _marks(data, edges))
    image = np.full((height, width, 4), 255, np.uint8)
    image[reach] = (226, 226, 226, 255)
    image[level] = [round(255 * part) for part in to_rgba(color)]
    image[rug & (within > 1 - RUG)[:, None]] = (40, 40, 40, 255)
    image[inside > 1] = 255
    return image


def _marks(data: GranularityData, edges: Array) -> tuple[NDArray[np.bool_], ...]:
    """Pixels ``[C, G, width]`` that hold a level, that lie between extremes, that hold a weight."""
    steps = np.floor(edges / data.scales[..., None]) + data.zero_points[..., None]
    level = (steps[..., 1:] > steps[..., :-1]) & (steps[..., 1:] >= data.qmin)
    level &= steps[..., :-1] < data.qmax
    low, high = (f(data.weights, axis=2)[..., None] for f in (np.min, np.max))
    reach = (edges[1:] >= np.minimum(low, 0)) & (edges[:-1] <= np.maximum(high, 0))
    rug = np.zeros(level.shape, bool)
    pixel = np.clip(np.searchsorted(edges, data.weights) - 1, 0, len(edges) - 2)
    np.put_along_axis(rug, pixel, True, axis=2)
    return level, reach, rug
