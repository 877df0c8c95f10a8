"""The settings a PTQ-against-QAT report is judged by, and how many points each may lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The profile that only tries the machinery; the targets are not those of its figures.
TRIAL = "smoke"
TRIAL_NOTE = (
    f"The {TRIAL} profile runs everything once, with a few hundred pictures, next to no training "
    "and a handful of timed calls. Its accuracies and times say nothing about the methods, and "
    "are not held against the targets, which are meant for the longer profiles."
)


@dataclass(frozen=True)
class Headline:
    """One setting; ``allowed`` points of top-1 below FP32, None: shown, whatever it costs.

    ``observer`` None is the main one of the report, whichever that is.
    """

    label: str
    method: Literal["fp32", "ptq", "qat"]
    bits: tuple[int, int]  # weights, activations
    granularity: str | None
    execution: Literal["float", "simulated", "integer"]
    observer: str | None = None
    allowed: float | None = None


FP32 = Headline("FP32", "fp32", (32, 32), None, "float")
_CHANNEL, _TENSOR = "per_channel", "per_tensor"
LOSSES = (
    Headline("W8A8 PTQ, per channel", "ptq", (8, 8), _CHANNEL, "integer", allowed=0.2),
    Headline("W8A8 PTQ, per tensor minmax", "ptq", (8, 8), _TENSOR, "integer", "minmax"),
    Headline("W8A8 QAT", "qat", (8, 8), _CHANNEL, "integer"),
    Headline("W4A4 PTQ", "ptq", (4, 4), _CHANNEL, "simulated"),
    Headline("W4A4 QAT", "qat", (4, 4), _CHANNEL, "simulated", allowed=1.0),
    Headline("W3A8 PTQ", "ptq", (3, 8), _CHANNEL, "simulated"),
    Headline("W3A8 QAT", "qat", (3, 8), _CHANNEL, "simulated"),
    Headline("W2A8 PTQ", "ptq", (2, 8), _CHANNEL, "simulated"),
    Headline("W2A8 QAT", "qat", (2, 8), _CHANNEL, "simulated"),
)
HEADLINES = (FP32, *LOSSES)
