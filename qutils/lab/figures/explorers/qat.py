"""QAT watched: weights on the grid, those that took another integer, the learning curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qutils.lab.figures.live import LiveFigure
from qutils.lab.figures.theme import BLUE, GREY, METHOD_COLORS, ORANGE, REFERENCE, VERMILLION

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QatData:
    """What one picture shows.

    ``edges [B + 1]`` in steps of the grid; ``start``, ``now`` and ``moved`` ``[B]`` are weights in
    each bin: before training, at the step shown, and those of the latter with another integer than
    at the start. ``between [K + 1]`` runs from -1/2 to 1/2 step around the nearest integer;
    ``moved_share [K]`` is what percentage of the weights there moved, at most ``most`` at the end.
    ``steps``, ``losses`` (NaN at step 0), ``accuracies`` ``[S]`` are the learning curve, ``at``
    the index shown.
    """

    run: str  # what makes a new picture: bits and layer
    qmax: int
    edges: Array
    start: Array
    now: Array
    moved: Array
    between: Array
    moved_share: Array
    most: float
    steps: Array
    losses: Array
    accuracies: Array
    fp32: float
    at: int


class QatPlot(LiveFigure):
    """Left: latent weights on the grid, and which of them moved. Right: loss and accuracy."""

    def __init__(self) -> None:
        self._run = ""
        super().__init__(9.4, 4.8)

    def build(self, figure: Figure) -> None:
        grid = figure.add_gridspec(
            2, 2, width_ratios=[1.6, 1], left=0.075, right=0.985, bottom=0.11, top=0.9,
            wspace=0.22, hspace=0.5,
        )  # fmt: skip
        self.top, self.low, self.loss, self.accuracy = (
            figure.add_subplot(grid[row, column]) for column in (0, 1) for row in (0, 1)
        )
        self._build_weights()
        self._build_between()
        self._build_curve()

    def _build_weights(self) -> None:
        axes = self.top
        axes.set(ylabel="weights in bin", xlabel="latent weight / scale")
        axes.grid(False)
        self.levels = axes.vlines([0], 0, 1, color=BLUE, linewidth=0.8, alpha=0.6,
                                  transform=axes.get_xaxis_transform())  # fmt: skip
        self.now = axes.stairs([1], [0, 1], fill=True, color=BLUE, alpha=0.4, label="now")
        self.moved = axes.stairs([1], [0, 1], fill=True, color=ORANGE, label="another integer now")
        self.start = axes.stairs([1], [0, 1], color=GREY, linewidth=1.1, label="before training")
        handles = [self.start, self.now, self.moved]
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.01, 0.98), ncols=3,
                    fontsize=9, columnspacing=1.2, handlelength=1.4)  # fmt: skip
        self.move(self.now, self.moved, self.start)

    def _build_between(self) -> None:
        axes = self.low
        axes.set(xlabel="place of the weight between two integers", xlim=(-0.5, 0.5))
        axes.set_ylabel("of the weights there [%]")
        axes.set_title("have another integer now", fontsize=10, pad=6)
        axes.set_xticks([-0.5, 0, 0.5], ["threshold", "integer", "threshold"])
        axes.grid(False)
        self.share = axes.stairs([0], [0, 1], fill=True, color=ORANGE)
        self.move(self.share)

    def _build_curve(self) -> None:
        qat, ptq = METHOD_COLORS["qat"], METHOD_COLORS["ptq"]
        self.loss.set_title("training loss [nats]", fontsize=10, pad=6)
        self.accuracy.set_title("accuracy [%]", fontsize=10, pad=6)
        self.accuracy.set_xlabel("step")
        (self.losses,) = self.loss.plot([], [], color=qat)
        (self.accuracies,) = self.accuracy.plot([], [], color=qat, label="QAT")
        self.fp32 = self.accuracy.axhline(0, label="FP32", **REFERENCE)
        self.ptq = self.accuracy.axhline(0, color=ptq, linewidth=1.3, label="PTQ", zorder=1)
        self.accuracy.legend(loc="lower right", bbox_to_anchor=(1.03, 0.96), ncols=3, fontsize=9,
                             handlelength=1.2, handletextpad=0.5, columnspacing=1)  # fmt: skip
        self.here = [
            axes.plot([], [], "o", color=VERMILLION, markersize=9, mec="white")[0]
            for axes in (self.loss, self.accuracy)
        ]
        self.move(*self.here)

    def show(self, data: QatData) -> None:
        """Bring the figure to ``data``; axes and curves change with the run and the layer."""
        if data.run != self._run:
            self._run = data.run
            self._new_run(data)
        self.now.set_data(data.now, data.edges)
        self.moved.set_data(data.moved, data.edges)
        self.share.set_data(data.moved_share, data.between)
        curves = (data.losses, data.accuracies)
        for dot, curve in zip(self.here, curves, strict=True):
            dot.set_data([data.steps[data.at]], [curve[data.at]])

    def _new_run(self, data: QatData) -> None:
        self.start.set_data(data.start, data.edges)
        few = data.qmax <= 15
        integers = range(-data.qmax, data.qmax + 1)
        self.levels.set_segments([[(i, 0.0), (i, 1.0)] for i in integers] if few else [])
        self.top.set_xlim(data.edges[0], data.edges[-1])
        self.top.set_ylim(0, 1.3 * max(1.0, data.start[1:-1].max()))  # clipped ones lie at the ends
        self.low.set_ylim(0, max(1.0, 1.15 * data.most))
        self.losses.set_data(data.steps, data.losses)
        self.accuracies.set_data(data.steps, data.accuracies)
        self.fp32.set_ydata([data.fp32] * 2)
        self.ptq.set_ydata([data.accuracies[0]] * 2)
        _fit(self.loss, data.steps, data.losses)
        _fit(self.accuracy, data.steps, np.append(data.accuracies, data.fp32))
        self.repaint(self._run)


def _fit(axes: Axes, steps: Array, values: Array) -> None:
    """Limits that hold the whole curve."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.08 * max(high - low, 1e-3)
    axes.set_ylim(low - margin, high + margin)
    last = max(float(steps[-1]), 1.0)
    axes.set_xlim(-0.02 * last, 1.02 * last)
