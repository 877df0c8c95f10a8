"""Pixels inside a live figure: images as they are, and matrices of integers drawn quickly."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from qutils.lab.figures.theme import BLACK, BLUE, ORANGE

Pixels = NDArray[np.uint8]
Point = tuple[float, float]

#: How strongly the largest value is coloured: text on it stays readable.
STRONGEST = 0.62


class Raster(Artist):
    """An image as large as its axes, copied pixel by pixel; ``imshow`` resamples, and is slow."""

    def __init__(self, axes: Axes) -> None:
        super().__init__()
        self.corner = (round(axes.bbox.x0), round(axes.bbox.y0))
        self.size = (round(axes.bbox.height), round(axes.bbox.width))
        self.pixels = np.full((*self.size, 4), 255, np.uint8)  # RGBA, from the top

    def draw(self, renderer: Any) -> None:
        renderer.draw_image(renderer.new_gc(), *self.corner, np.flipud(self.pixels))


class Canvas:
    """A white picture of ``[height, width]`` pixels for text and matrices of integers.

    Places are ``(x, y)`` in pixels from the top left. Some hundred numbers take milliseconds,
    which a figure of as many text artists does not.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._image = Image.new("RGBA", (size[1], size[0]), (255, 255, 255, 255))
        self._draw = ImageDraw.Draw(self._image)

    @property
    def pixels(self) -> Pixels:
        """What was drawn, RGBA ``[height, width, 4]``."""
        return np.asarray(self._image)

    def text(
        self, at: Point, text: str, color: str = BLACK, size: int = 13, anchor: str = "lm",
        font: str = "DejaVuSans",
    ) -> None:  # fmt: skip
        """Write; ``anchor`` as PIL has it: left, middle, right and top, middle, bottom."""
        self._draw.text(at, text, _rgb(color), _font(font, size), anchor=anchor)

    def frame(self, corner: Point, size: Point, color: str = BLACK, width: int = 3) -> None:
        """An empty rectangle of ``size`` pixels."""
        end = (corner[0] + size[0], corner[1] + size[1])
        self._draw.rectangle((*corner, *end), outline=_rgb(color), width=width)

    def matrix(
        self, corner: Point, cell: Point, values: NDArray[Any], *, center: int = 0,
        muted: NDArray[np.bool_] | None = None,
    ) -> None:  # fmt: skip
        """Integers ``[R, C]`` in cells, bluer below ``center``, more orange above it.

        Args:
            muted: where numbers are grey on white, ``[R, C]``.
        """
        distance = values.astype(float) - center
        strength = STRONGEST * distance / max(1.0, float(np.abs(distance).max()))
        for (row, column), value in np.ndenumerate(values):
            x, y = corner[0] + column * cell[0], corner[1] + row * cell[1]
            quiet = muted is not None and bool(muted[row, column])
            fill = (255, 255, 255) if quiet else _blend(float(strength[row, column]))
            box = (x, y, x + cell[0], y + cell[1])
            self._draw.rectangle(box, fill=fill, outline=(205, 205, 205))
            self.text(
                (x + cell[0] / 2 + 1, y + cell[1] / 2 + 1), str(value).replace("-", "−"),
                "#8A8A8A" if quiet else BLACK, anchor="mm",
            )  # fmt: skip


def _blend(strength: float) -> tuple[int, int, int]:
    """White towards orange (above 0) or blue (below), ``strength`` -1..1."""
    share = abs(strength)
    target = _rgb(ORANGE if strength > 0 else BLUE)
    red, green, blue = (round(255 + (part - 255) * share) for part in target)
    return red, green, blue


@cache
def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(color))
    return red, green, blue


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that ships with matplotlib: the same everywhere."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)
