"""Figures: one theme, and plots that are pure functions from data to a Figure."""

from qutils.figures.accuracy import accuracy_vs_bits, accuracy_vs_latency, accuracy_vs_size
from qutils.figures.bars import latency_bars, memory_bars, size_bars, step_bars
from qutils.figures.layers import sqnr_per_layer
from qutils.figures.learning import learning_curves
from qutils.figures.observers import accuracy_vs_observer
from qutils.figures.ranges import clipping_ranges
from qutils.figures.theme import METHOD_COLORS, OBSERVER_COLORS, save, to_png, to_svg

__all__ = [
    "METHOD_COLORS",
    "OBSERVER_COLORS",
    "accuracy_vs_bits",
    "accuracy_vs_latency",
    "accuracy_vs_observer",
    "accuracy_vs_size",
    "clipping_ranges",
    "latency_bars",
    "learning_curves",
    "memory_bars",
    "save",
    "size_bars",
    "sqnr_per_layer",
    "step_bars",
    "to_png",
    "to_svg",
]
