"""Quantization-aware training."""

from qutils.qat.finetune import finetune, gather

__all__ = ["finetune", "gather"]
