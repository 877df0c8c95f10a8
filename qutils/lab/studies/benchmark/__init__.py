"""The benchmark report: INT8 against FP32 and against ONNX Runtime's own quantizer, measured."""

from qutils.lab.studies.benchmark.plan import PROFILES, Profile, choose
from qutils.lab.studies.benchmark.results import checks, rows
from qutils.lab.studies.benchmark.runs import (
    FileFigures,
    measure_files,
    measure_memory,
    measure_steps,
)

__all__ = [
    "PROFILES",
    "FileFigures",
    "Profile",
    "checks",
    "choose",
    "measure_files",
    "measure_memory",
    "measure_steps",
    "rows",
]
