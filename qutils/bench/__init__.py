"""Measurements: latency, memory, size and accuracy, of runtimes and of plain callables."""

from qutils.bench.accuracy import Accuracy, agreement, evaluate, predict_with, predictions
from qutils.bench.latency import Comparison, Latency, Ratio, compare, latency
from qutils.bench.memory import PeakMemory, peak_of, peak_of_inference
from qutils.bench.size import Size, size_of, weight_bytes

__all__ = [
    "Accuracy",
    "Comparison",
    "Latency",
    "PeakMemory",
    "Ratio",
    "Size",
    "agreement",
    "compare",
    "evaluate",
    "latency",
    "peak_of",
    "peak_of_inference",
    "predict_with",
    "predictions",
    "size_of",
    "weight_bytes",
]
