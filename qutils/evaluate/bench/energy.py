"""Energy of an inference, always with its source; a machine without meter says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from qutils.backends.runtimes import Runtime, load
from qutils.errors import InvalidInputError
from qutils.evaluate.bench.latency import normal_batch
from qutils.evaluate.bench.meters import Estimate, Meter, NoMeterError, Nvml, Rapl

Device = Literal["cpu", "gpu"]
SOURCES = ("rapl", "nvml", "estimated", "unavailable")
#: Meters by device, the best first.
_METERS: dict[str, tuple[Callable[[], Meter], ...]] = {
    "cpu": (lambda: Rapl.find(), lambda: Estimate.find()),
    "gpu": (lambda: Nvml.find(),),
}
_WARMUP = 3


@dataclass(frozen=True)
class Energy:
    """Energy of one inference [J], None where nothing tells it; never a silent zero.

    Only ``rapl`` and ``nvml`` are measured: they count all that runs on the chip, its idle power
    included. ``estimated`` is an assumption on power times CPU time, and follows latency alone.
    """

    joules: float | None  # of one inference, that is of one sample
    source: str  # of SOURCES
    detail: str
    inferences: int
    seconds: float
    batch: int
    threads: int

    @property
    def measured(self) -> bool:
        """Whether a counter told it."""
        return self.source in ("rapl", "nvml")

    def __str__(self) -> str:
        if self.joules is None:
            return f"energy unavailable: {self.detail}"
        return (
            f"{self.joules * 1e3:.3g} mJ an inference, {self.source} ({self.detail}; "
            f"{self.inferences:,} inferences in {self.seconds:.2g} s, batch {self.batch}, threads "
            f"{self.threads})"
        )


def energy(
    model: Runtime | str | Path,
    batch: NDArray[Any] | int = 1,
    *,
    threads: int = 1,
    seconds: float = 2.0,
    device: Device = "cpu",
) -> Energy:
    """Run a runtime, or a model file in ONNX Runtime, for some seconds between two readings.

    ``joules = (meter after - meter before) / inferences``. Counters tick about once a
    millisecond, so let the run be long beside that; keep the machine quiet.

    Raises:
        InvalidInputError: seconds not above 0, unknown device, batch that the model does not take.
    """
    if not seconds > 0:
        raise InvalidInputError(f"energy is read over some seconds, not {seconds:g}")
    if device not in _METERS:
        raise InvalidInputError(f"unknown device {device!r}: choose from {', '.join(_METERS)}")
    runtime = model if isinstance(model, Runtime) else load(model, threads=threads)
    array = normal_batch(runtime, batch) if isinstance(batch, int) else batch
    meter, reasons = _meter(device)
    for _ in range(_WARMUP):
        runtime.run(array)
    used, calls, elapsed = _measure(runtime, array, meter, seconds)
    if meter is not None and not used > 0:
        reasons.append(f"the {meter.source} counter did not move in {elapsed:.2g} s")
        meter = None
    inferences = calls * len(array)
    return Energy(
        joules=used / inferences if meter is not None else None,
        source=meter.source if meter is not None else "unavailable",
        detail=meter.detail if meter is not None else "; ".join(reasons),
        inferences=inferences,
        seconds=elapsed,
        batch=len(array),
        threads=runtime.threads,
    )


def _meter(device: str) -> tuple[Meter | None, list[str]]:
    """The best meter to be had, and why better ones are not."""
    reasons: list[str] = []
    for find in _METERS[device]:
        try:
            return find(), reasons
        except NoMeterError as error:
            reasons.append(str(error))
    return None, reasons


def _measure(
    runtime: Runtime, array: NDArray[Any], meter: Meter | None, seconds: float
) -> tuple[float, int, float]:
    """Joules, calls and seconds of a run of at least ``seconds``; one call without a meter."""
    before, start, calls = meter.joules() if meter is not None else 0.0, time.perf_counter(), 0
    while True:
        runtime.run(array)
        calls += 1
        elapsed = time.perf_counter() - start
        if meter is None or elapsed >= seconds:
            break
    return (meter.joules() - before if meter is not None else 0.0), calls, elapsed
