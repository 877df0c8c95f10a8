"""Measurements: latency, memory, size and accuracy, of runtimes and of plain callables."""

from qutils.evaluate.bench.accuracy import Accuracy, agreement, evaluate, predict_with, predictions
from qutils.evaluate.bench.calibration import CalibrationMemory, calibration_memory
from qutils.evaluate.bench.energy import Energy, energy
from qutils.evaluate.bench.latency import Comparison, Latency, Ratio, compare, latency
from qutils.evaluate.bench.memory import PeakMemory, peak_of, peak_of_inference
from qutils.evaluate.bench.paired import Gain, gain
from qutils.evaluate.bench.peers import PEERS, nncf_quantize, quantize_static
from qutils.evaluate.bench.size import Size, size_of, weight_bytes
from qutils.evaluate.bench.training import StepTimes, training_steps
from qutils.evaluate.bench.weights import WeightSize, weight_size

__all__ = [
    "PEERS",
    "Accuracy",
    "CalibrationMemory",
    "Comparison",
    "Energy",
    "Gain",
    "Latency",
    "PeakMemory",
    "Ratio",
    "Size",
    "StepTimes",
    "WeightSize",
    "agreement",
    "calibration_memory",
    "compare",
    "energy",
    "evaluate",
    "gain",
    "latency",
    "nncf_quantize",
    "peak_of",
    "peak_of_inference",
    "predict_with",
    "predictions",
    "quantize_static",
    "size_of",
    "training_steps",
    "weight_bytes",
    "weight_size",
]
