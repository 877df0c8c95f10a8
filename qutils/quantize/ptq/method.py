"""The record of one post-training method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from qutils.quantize.simulate import SimulatedModel


class Refine(Protocol):
    """Takes a simulated model and calibration batches; returns a new simulated model."""

    def __call__(
        self, sim: SimulatedModel, batches: Iterable[Any] | Tensor, *, progress: bool = False
    ) -> SimulatedModel: ...


@dataclass(frozen=True)
class Method:
    """One way to refine a calibrated model: its name, how people say it, and what does it."""

    name: str
    title: str
    refine: Refine
    rank: int = 1000  # place in lists
