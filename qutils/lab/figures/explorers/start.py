"""Filters and what they see, in FP32 and in few bits, beside the accuracy that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import GREY, METHOD_COLORS, REFERENCE

Array = NDArray[np.float64]

#: Zero is white, both signs are told apart by colour-blind readers as well.
SIGNED = "PuOr"
#: White lines between the filters of a bank, in pixels of a filter.
GAP = 1


@dataclass(frozen=True)
class StartData:
    """What one picture shows.

    ``filters [F, h, w]`` and ``maps [M, H, W]`` in FP32, ``few_filters`` and ``few_maps`` the same
    in ``bits``; ``picture [H, W]`` is what the filters look at. ``all_bits``, ``top1``, ``low`` and
    ``high [K]`` are the accuracy curve [%] with its intervals.
    """

    bits: int
    model: str
    picture: Array
    filters: Array
    maps: Array
    few_filters: Array
    few_maps: Array
    all_bits: Array
    top1: Array
    low: Array
    high: Array
    float_top1: float
    n: int


class StartPlot(LiveFigure):
    """Upper row FP32, lower row few bits: filters, then what they see. Right: accuracy.

    Each filter is shaded by its own largest weight, each map by its own brightest pixels, in FP32.
    """

    def __init__(self, data: StartData) -> None:
        self._first = data
        super().__init__(9.4, 4.3)

    def build(self, figure: Figure) -> None:
        data = self._first
        tops, height = (0.485, 0.015), 0.43
        self._largest = np.abs(data.filters).max(axis=(1, 2), keepdims=True)
        self._images: list[AxesImage] = []
        for row, (bank, maps) in enumerate(
            ((data.filters, data.maps), (data.few_filters, data.few_maps))
        ):
            axes = _frame(figure, (0.05, tops[row], 0.195, height))
            axes.spines[:].set_visible(False)
            shades: Any = {"cmap": SIGNED, "vmin": -1, "vmax": 1}
            self._images.append(axes.imshow(_bank(bank / self._largest), **shades))
            for place, (seen, first) in enumerate(zip(maps, data.maps, strict=True)):
                axes = _frame(figure, (0.265 + 0.2 * place, tops[row], 0.195, height))
                brightest = np.quantile(first, 0.995)
                self._images.append(axes.imshow(seen, cmap="gray", vmin=0, vmax=brightest))
        self._text(figure, tops, height)
        small = _frame(figure, (0.585, 0.924, 0.033, 0.072))
        small.imshow(data.picture, cmap="gray")
        self._build_curve(figure, data)
        self.move(*self._images[len(self._images) // 2 :], self.words, self.here)

    def _text(self, figure: Figure, tops: tuple[float, float], height: float) -> None:
        style: Any = {"fontsize": 10, "fontweight": "bold"}
        figure.text(0.05, 0.945, f"{len(self._first.filters)} filters", **style)
        seen = f"what {len(self._first.maps)} of them see in this picture"
        figure.text(0.265, 0.945, seen, **style)
        turned: Any = {"rotation": 90, "va": "center", "ha": "center", **style}
        figure.text(0.025, tops[0] + height / 2, "FP32", **turned)
        self.words = figure.text(0.025, tops[1] + height / 2, "", **turned)

    def _build_curve(self, figure: Figure, data: StartData) -> None:
        axes = figure.add_axes((0.75, 0.125, 0.235, 0.79))
        axes.set_title(f"{data.model}: right answers", fontsize=10, pad=6)
        axes.set_xlabel("bits of weights and activations")
        axes.set_ylabel(f"[%] of {data.n} test pictures, simulated")
        axes.set_ylim(0, 100)
        axes.set_xticks(data.all_bits)
        axes.axhline(data.float_top1, label="FP32", **REFERENCE)
        color = METHOD_COLORS["ptq"]
        axes.fill_between(data.all_bits, data.low, data.high, color=color, alpha=0.18, lw=0)
        axes.plot(data.all_bits, data.top1, color=color, linewidth=1.6, label="PTQ")
        (self.here,) = axes.plot([], [], "o", color=color, ms=11, mec="white", mew=1.5)
        axes.text(data.all_bits[-1], data.float_top1 + 1.5, "FP32", color=GREY, ha="right",
                  va="bottom", fontsize=9)  # fmt: skip

    def show(self, data: StartData) -> None:
        """Bring the lower row and the mark on the curve to ``data``."""
        few = self._images[len(self._images) // 2 :]
        shown = (_bank(data.few_filters / self._largest), *data.few_maps)
        for image, values in zip(few, shown, strict=True):
            image.set_data(values)
        self.words.set_text(f"{data.bits} bits")
        at = int(np.abs(data.all_bits - data.bits).argmin())
        self.here.set_data([data.all_bits[at]], [data.top1[at]])


def _frame(figure: Figure, place: tuple[float, float, float, float]) -> Axes:
    axes = figure.add_axes(place)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#BBBBBB")
    return axes


def _bank(filters: Array) -> Array:
    """Filters ``[F, h, w]`` as a square of tiles with gaps; NaN, drawn as nothing, in the gaps."""
    count, height, width = filters.shape
    side = int(np.ceil(np.sqrt(count)))
    bank = np.full((side * (height + GAP) - GAP, side * (width + GAP) - GAP), np.nan)
    for place, tile in enumerate(filters):
        y, x = (height + GAP) * (place // side), (width + GAP) * (place % side)
        bank[y : y + height, x : x + width] = tile
    return bank
