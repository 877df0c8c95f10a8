"""A whole network under one setting: SQNR layer by layer, and the accuracy that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import BLACK, BLUE, REFERENCE, VERMILLION

Array = NDArray[np.float64]
#: What the axis of the SQNR shows [dB]; what lies beyond ends at its edge.
LOW, HIGH = -5.0, 65.0


@dataclass(frozen=True)
class LayersData:
    """What one picture shows.

    ``layers`` in order of execution; ``outputs`` and ``weights`` ``[L]`` their SQNR in dB, NaN
    where there is none. Accuracies are in percent of ``n`` pictures, with their 95 % interval.
    """

    model: str
    layers: tuple[str, ...]
    outputs: Array
    weights: Array
    fp32: float
    top1: float
    interval: tuple[float, float]


class LayersPlot(LiveFigure):
    """Left: a bar for each layer's output, a dot for its weights. Right: accuracy beside FP32."""

    def __init__(self) -> None:
        self._model = ""
        super().__init__(9.4, 4.6)

    def build(self, figure: Figure) -> None:
        self.bars_axes = figure.add_axes((0.07, 0.34, 0.735, 0.56))
        self.side = figure.add_axes((0.88, 0.34, 0.105, 0.56))
        axes = self.bars_axes
        axes.set(ylim=(LOW, HIGH), ylabel="SQNR [dB], higher is better")
        axes.grid(False, axis="x")
        axes.axhline(0, color=BLACK, linewidth=0.8)
        self.bars = axes.vlines([0], 0, 1, color=BLUE, alpha=0.55, label="output of the layer")
        self.worst = axes.vlines([0], 0, 1, color=VERMILLION, label="lowest output")
        (self.dots,) = axes.plot([], [], "o", color=BLACK, markersize=4.5, label="its weights")
        self.move(self.bars, self.worst, self.dots)
        self._legend()
        self._build_accuracy()

    def _legend(self) -> None:
        """Swatches of one size, whatever the width of the bars."""
        box = self.bars_axes.legend(
            loc="lower right", bbox_to_anchor=(1.01, 0.985), ncols=3, fontsize=9
        )
        swatches: Any = box.legend_handles[:2]
        for swatch in swatches:
            swatch.set_linewidth(7)

    def _build_accuracy(self) -> None:
        axes = self.side
        axes.set(xlim=(-1, 1), ylim=(0, 102))
        axes.set_title("accuracy [%]", fontsize=10, pad=8)
        axes.set_xticks([])
        self.fp32 = axes.axhline(0, **REFERENCE)
        self.range = axes.vlines([0], 0, 1, color=BLUE, linewidth=2)
        (self.here,) = axes.plot([], [], "o", color=BLUE, markersize=10, mec="white")
        self.here_text = axes.text(0, 0, "", ha="center", va="top", fontsize=10, color=BLUE)
        self.move(self.range, self.here, self.here_text)

    def show(self, data: LayersData) -> None:
        """Bring the figure to ``data``; the axes change with the model."""
        if data.model != self._model:
            self._model = data.model
            self._new_model(data)
        outputs = np.clip(np.nan_to_num(data.outputs, posinf=HIGH), LOW, HIGH)
        worst = int(np.nanargmin(data.outputs))
        columns = [[(i, 0.0), (i, value)] for i, value in enumerate(outputs)]
        self.worst.set_segments([columns.pop(worst)])
        self.bars.set_segments(columns)
        known = np.isfinite(data.weights)
        places = np.arange(len(data.layers))[known]
        self.dots.set_data(places, np.clip(data.weights[known], LOW, HIGH))
        self.range.set_segments([[(0, data.interval[0]), (0, data.interval[1])]])
        self.here.set_data([0], [data.top1])
        self.here_text.set_text(f"{data.top1:.1f}")
        self.here_text.set_y(data.interval[0] - 3 if data.interval[0] > 12 else data.top1 + 14)

    def _new_model(self, data: LayersData) -> None:
        count = len(data.layers)
        axes = self.bars_axes
        axes.set_xlim(-0.6, count - 0.4)
        axes.set_xticks(range(count), data.layers, rotation=90, fontsize=8.5 if count < 20 else 7.5)
        width = 0.7 * axes.get_window_extent().width / count * 72 / self.figure.dpi
        for collection in (self.bars, self.worst):
            collection.set_linewidth(width)
        self.fp32.set_ydata([data.fp32] * 2)
        self.side.set_xlabel(f"- - FP32 {data.fp32:.1f}", color=REFERENCE["color"], fontsize=9)
        self.repaint(self._model)
