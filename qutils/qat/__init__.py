"""Quantization-aware training."""

from qutils.qat.finetune import default_rate, finetune
from qutils.qat.recorder import LayerState, Recorder, Snapshot

__all__ = ["LayerState", "Recorder", "Snapshot", "default_rate", "finetune"]
