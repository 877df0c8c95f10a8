"""Figures: one theme, and plots that are pure functions from data to a Figure."""

from qutils.figures.accuracy import accuracy_vs_bits, accuracy_vs_latency, accuracy_vs_size
from qutils.figures.bars import latency_bars, memory_bars, size_bars, step_bars
from qutils.figures.bits import accuracy_by_part, accuracy_vs_mix, sensitivity_by_layer
from qutils.figures.calibration import (
    beyond_the_range,
    calibration_curves,
    calibration_sources,
)
from qutils.figures.choice import objective_curves, sqnr_by_observer
from qutils.figures.coverage import sqnr_by_architecture
from qutils.figures.detection import boxes_on_pictures, detector_files, sqnr_by_part
from qutils.figures.explain import time_by_operator
from qutils.figures.granularity import (
    accuracy_vs_granularity,
    folding_ranges,
    folding_spread,
    spread_by_fan_in,
)
from qutils.figures.grid import accuracy_grid
from qutils.figures.integers import integer_twins, pair_saturation, rounding_rules
from qutils.figures.law import sqnr_vs_bits
from qutils.figures.layers import sqnr_per_layer
from qutils.figures.learning import learning_curves
from qutils.figures.observers import accuracy_vs_observer
from qutils.figures.paired import ptq_to_qat
from qutils.figures.parity import parity_by_layer
from qutils.figures.ranges import clipping_ranges
from qutils.figures.saturation import saturation_paths
from qutils.figures.show import show
from qutils.figures.straight_through import oscillation, straight_through
from qutils.figures.theme import METHOD_COLORS, OBSERVER_COLORS, save, to_png, to_svg
from qutils.figures.versions import versions

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
