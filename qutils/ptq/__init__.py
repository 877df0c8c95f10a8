"""Post-training methods that refine what ``calibrate`` made, one file each; METHODS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from torch import Tensor

from qutils.ptq.bias_correction import bias_correction
from qutils.simulate import SimulatedModel


class Refine(Protocol):
    """Takes a simulated model and calibration batches; returns a new simulated model."""

    def __call__(
        self, sim: SimulatedModel, batches: Iterable[Any] | Tensor, *, progress: bool = False
    ) -> SimulatedModel: ...


@dataclass(frozen=True)
class Method:
    """One way to refine a calibrated model: how people say it, and the function that does it."""

    title: str
    refine: Refine


#: Every method by name; rows of results and the command line call it ``ptq-NAME``.
METHODS: MappingProxyType[str, Method] = MappingProxyType(
    {"bias-correction": Method("bias correction", bias_correction)}
)
#: Plain calibration, and it refined by each method, as rows and the command line name them.
ROW_NAMES = ("ptq", *(f"ptq-{name}" for name in METHODS))

__all__ = ["METHODS", "ROW_NAMES", "Method", "Refine", "bias_correction"]
