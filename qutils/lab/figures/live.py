"""A figure that is built once and redrawn in part: fast enough to follow a slider."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from qutils.lab.figures.theme import DRAWING, themed

#: Pixels per inch on screen: text of 10 points is 14 pixels high.
DPI = 100
#: Colours of a picture that has to stay small.
COLORS = 48
#: Backgrounds that a figure keeps, 1 to 2 MB each.
KEPT = 32


class LiveFigure(ABC):
    """A kept figure of ``width x height`` inches; subclasses build axes and artists once.

    What moves is registered with ``move``; the rest is painted once and copied (blitting). Call
    ``repaint`` when something of the rest changed: limits, ticks, labels, titles.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height), dpi=DPI)
        self._canvas: Any = FigureCanvasAgg(self.figure)
        self._moving: list[Artist] = []
        self._background: Any = None
        self._rest: Hashable = None
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        themed(self._build_themed)()

    @abstractmethod
    def build(self, figure: Figure) -> None:
        """Create axes and artists."""

    @abstractmethod
    def show(self, data: Any) -> None:
        """Bring the artists to ``data``, which a view carries."""

    def _build_themed(self) -> Figure:
        self.build(self.figure)
        return self.figure

    def move(self, *artists: Artist) -> None:
        """Register artists that change from picture to picture, in the order of painting."""
        for artist in artists:
            artist.set_animated(True)
            self._moving.append(artist)

    def repaint(self, rest: Hashable = None) -> None:
        """Paint everything at the next picture, not only what moves.

        ``rest`` names what does not move (a tensor and the limits of its axes, say): what has been
        painted under that name is copied when it comes again.
        """
        self._rest = rest
        self._background = self._kept.get(rest)

    def image(self, image_format: str = "png") -> bytes:
        """The figure as an image file: ``png`` to send quickly, ``webp`` to keep small."""
        pixels = Image.fromarray(np.asarray(self._paint())).convert("RGB")
        buffer = io.BytesIO()
        if image_format == "webp":
            fastest = Image.Quantize.FASTOCTREE  # keeps rare colours, which median cut merges
            few = pixels.quantize(COLORS, fastest, dither=Image.Dither.NONE).convert("RGB")
            few.save(buffer, "webp", lossless=True, quality=25, method=2)  # 25: effort
        else:
            pixels.save(buffer, image_format, compress_level=1)
        return buffer.getvalue()

    def _paint(self) -> Any:
        with DRAWING:
            if self._background is None:
                self._canvas.draw()  # leaves out what moves
                self._background = self._canvas.copy_from_bbox(self.figure.bbox)
                self._keep()
            else:
                self._canvas.restore_region(self._background)
            for artist in self._visible():
                self.figure.draw_artist(artist)
        return self._canvas.buffer_rgba()

    def _keep(self) -> None:
        if self._rest is not None:
            self._kept[self._rest] = self._background
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _visible(self) -> Iterable[Artist]:
        return (artist for artist in self._moving if artist.get_visible())
