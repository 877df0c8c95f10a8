"""A convolution in integers: input, filter, products of one window, accumulators, output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.raster import Canvas, Point, Raster
from qutils.lab.figures.theme import BLACK, GREY, VERMILLION

Integers = NDArray[np.int32]
CELL: Point = (46, 34)
WIDE: Point = (60, 34)  # for products and accumulators
MONO = "DejaVuSansMono"


@dataclass(frozen=True)
class IntegerData:
    """What one picture shows: matrices of integers, the window at ``place``, and its ledger.

    ``padded [H + 2, W + 2]`` is the input with its border; ``steps`` are lines of the arithmetic,
    each what is done and what comes out.
    """

    padded: Integers
    zero_point: int
    w: Integers
    products: Integers
    acc: Integers
    y: Integers
    y_zero_point: int
    saturated: NDArray[np.bool_]
    place: tuple[int, int]
    steps: tuple[tuple[str, str], ...]


class IntegerPlot(LiveFigure):
    """Left: input with the window. Middle: filter and products. Right: accumulators, output."""

    def __init__(self) -> None:
        super().__init__(9.4, 5.0)

    def build(self, figure: Figure) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        self.raster = Raster(axes)
        axes.add_artist(self.raster)
        self.move(self.raster)

    def show(self, data: IntegerData) -> None:
        """Draw everything: it is a few milliseconds of pixels."""
        canvas = Canvas(self.raster.size)
        self._input(canvas, data)
        self._products(canvas, data)
        self._output(canvas, data)
        self._ledger(canvas, data)
        self.raster.pixels = canvas.pixels

    def _input(self, canvas: Canvas, data: IntegerData) -> None:
        corner = (14.0, 44.0)
        border = np.ones(data.padded.shape, bool)
        border[1:-1, 1:-1] = False
        _title(canvas, corner, "input x", "grey: padding, a real 0")
        canvas.matrix(corner, CELL, data.padded, center=data.zero_point, muted=border)
        row, column = data.place
        _frame(canvas, corner, CELL, (row, column), data.w.shape)

    def _products(self, canvas: Canvas, data: IntegerData) -> None:
        corner = (398.0, 44.0)
        _title(canvas, corner, "filter w")
        canvas.matrix(corner, WIDE, data.w)
        canvas.text((corner[0] - 26, corner[1] + 1.5 * WIDE[1]), "×", GREY, 20, "mm")
        below = (corner[0], 208.0)
        _title(canvas, below, "products w x of the window")
        canvas.matrix(below, WIDE, data.products)
        canvas.frame(below, (3 * WIDE[0], 3 * WIDE[1]))

    def _output(self, canvas: Canvas, data: IntegerData) -> None:
        corner = (630.0, 44.0)
        _title(canvas, corner, "accumulators, int32")
        canvas.matrix(corner, WIDE, data.acc)
        _frame(canvas, corner, WIDE, data.place)
        below = (corner[0], 272.0)
        _title(canvas, below, "output y", "red: saturated")
        canvas.matrix(below, WIDE, data.y, center=data.y_zero_point)
        for row, column in zip(*data.saturated.nonzero(), strict=True):
            _frame(canvas, below, WIDE, (row, column), color=VERMILLION, inset=3)
        _frame(canvas, below, WIDE, data.place)

    def _ledger(self, canvas: Canvas, data: IntegerData) -> None:
        """What happens at the framed place, one line a step."""
        top, left, right = 348.0, 14.0, 440.0
        for index, (what, result) in enumerate(data.steps):
            y = top + 21 * index
            canvas.text((left, y), what)
            canvas.text((right, y), result, anchor="rm", font=MONO)


def _title(canvas: Canvas, corner: Point, title: str, remark: str = "") -> None:
    canvas.text((corner[0], corner[1] - 14), title, font="DejaVuSans-Bold")
    if remark:
        canvas.text((corner[0] + 9 * len(title) + 12, corner[1] - 14), remark, GREY, 12)


def _frame(
    canvas: Canvas,
    corner: Point,
    cell: Point,
    place: tuple[int, int],
    shape: tuple[int, ...] = (1, 1),
    color: str = BLACK,
    inset: int = 0,
) -> None:
    """Frame ``shape`` cells from ``place`` on."""
    x, y = corner[0] + place[1] * cell[0] + inset, corner[1] + place[0] * cell[1] + inset
    size = (shape[1] * cell[0] - 2 * inset, shape[0] * cell[1] - 2 * inset)
    canvas.frame((x, y), size, color, 3 if not inset else 2)
