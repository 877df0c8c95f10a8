"""Quantization-aware training."""

from qutils.quantize.qat.finetune import default_rate, finetune
from qutils.quantize.qat.recorder import LayerState, Recorder, Snapshot

__all__ = ["LayerState", "Recorder", "Snapshot", "default_rate", "finetune"]
