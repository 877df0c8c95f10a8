"""Figures: one theme, and plots that are pure functions from data to a Figure."""

from qutils.lab.figures.accuracy import accuracy_vs_bits, accuracy_vs_latency, accuracy_vs_size
from qutils.lab.figures.bars import latency_bars, memory_bars, size_bars, step_bars
from qutils.lab.figures.bits import accuracy_by_part, accuracy_vs_mix, sensitivity_by_layer
from qutils.lab.figures.calibration import beyond_the_range, calibration_curves, calibration_sources
from qutils.lab.figures.choice import objective_curves, sqnr_by_observer
from qutils.lab.figures.coverage import sqnr_by_architecture
from qutils.lab.figures.detection import boxes_on_pictures, detector_files, sqnr_by_part
from qutils.lab.figures.explain import time_by_operator
from qutils.lab.figures.granularity import (
    accuracy_vs_granularity,
    folding_ranges,
    folding_spread,
    spread_by_fan_in,
)
from qutils.lab.figures.grid import accuracy_grid
from qutils.lab.figures.integers import integer_twins, pair_saturation, rounding_rules
from qutils.lab.figures.law import sqnr_vs_bits
from qutils.lab.figures.layers import sqnr_per_layer
from qutils.lab.figures.learning import learning_curves
from qutils.lab.figures.observers import accuracy_vs_observer
from qutils.lab.figures.paired import ptq_to_qat
from qutils.lab.figures.parity import parity_by_layer
from qutils.lab.figures.ranges import clipping_ranges
from qutils.lab.figures.saturation import saturation_paths
from qutils.lab.figures.show import show
from qutils.lab.figures.straight_through import oscillation, straight_through
from qutils.lab.figures.theme import METHOD_COLORS, OBSERVER_COLORS, save, to_png, to_svg
from qutils.lab.figures.versions import versions

__all__ = [
    "METHOD_COLORS",
    "OBSERVER_COLORS",
    "accuracy_by_part",
    "accuracy_grid",
    "accuracy_vs_bits",
    "accuracy_vs_granularity",
    "accuracy_vs_latency",
    "accuracy_vs_mix",
    "accuracy_vs_observer",
    "accuracy_vs_size",
    "beyond_the_range",
    "boxes_on_pictures",
    "calibration_curves",
    "calibration_sources",
    "clipping_ranges",
    "detector_files",
    "folding_ranges",
    "folding_spread",
    "integer_twins",
    "latency_bars",
    "learning_curves",
    "memory_bars",
    "objective_curves",
    "oscillation",
    "pair_saturation",
    "parity_by_layer",
    "ptq_to_qat",
    "rounding_rules",
    "saturation_paths",
    "save",
    "sensitivity_by_layer",
    "show",
    "size_bars",
    "spread_by_fan_in",
    "sqnr_by_architecture",
    "sqnr_by_observer",
    "sqnr_by_part",
    "sqnr_per_layer",
    "sqnr_vs_bits",
    "step_bars",
    "straight_through",
    "time_by_operator",
    "to_png",
    "to_svg",
    "versions",
]
