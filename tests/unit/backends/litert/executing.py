"""What a ``.tflite`` file executes, without what only changes the type at its ends."""

from __future__ import annotations

from collections.abc import Iterable

BOUNDARY = {"QUANTIZE", "DEQUANTIZE"}


def computing(kernels: Iterable[str], kind: str) -> set[str]:
    """Return the operators among ``kernels()`` whose results are of a type, ``int8`` say."""
    return {k.split()[0] for k in kernels if k.split()[1] == kind} - BOUNDARY
