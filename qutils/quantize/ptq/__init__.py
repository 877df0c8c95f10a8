"""Post-training methods that refine what ``calibrate`` made, one file each; METHODS."""

from __future__ import annotations

from collections.abc import Mapping

from qutils.discovery import Discovered
from qutils.quantize.ptq.bias_correction import bias_correction
from qutils.quantize.ptq.method import Method, Refine

#: Every method by name, ``METHOD`` of each module of this package; rows of results and the command
#: line call it ``ptq-NAME``.
METHODS: Mapping[str, Method] = Discovered("qutils.quantize.ptq", "METHOD")
#: Plain calibration, and it refined by each method, as rows and the command line name them.
ROW_NAMES = ("ptq", *(f"ptq-{name}" for name in METHODS))

__all__ = ["METHODS", "ROW_NAMES", "Method", "Refine", "bias_correction"]
