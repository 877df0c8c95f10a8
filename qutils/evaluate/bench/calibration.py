"""Peak memory of calibration, and whether it grows with the number of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from qutils.cores import core_count
from qutils.errors import InvalidInputError
from qutils.evaluate.bench.process import Json, call_fresh


@dataclass(frozen=True)
class CalibrationMemory:
    """Peak resident memory of calibrating in a fresh process [MiB], least of ``repeats``.

    ``base_mib`` is the peak before calibration began: interpreter, torch, model, dataset.
    """

    model: str
    observer: str
    pictures: tuple[int, int]  # few, many
    few_mib: float
    many_mib: float
    base_mib: float
    repeats: int

    @property
    def ratio(self) -> float:
        """Peak with many pictures over peak with few."""
        return self.many_mib / self.few_mib


def calibration_memory(
    model: str,
    observers: Sequence[str],
    pictures: tuple[int, int] = (256, 4096),
    repeats: int = 3,
) -> list[CalibrationMemory]:
    """Calibrate a model of the zoo (W8A8 per channel) with few and with many pictures.

    Figures come from fresh processes of one thread, which load the whole dataset in both cases,
    observe the pictures once, and derive the ranges of every tensor with one observer after the
    other. An observer's peak is the larger of the peak while observing and that while it derives.
    Allocators only ever add to what is needed, so the least of several processes counts.

    Raises:
        InvalidInputError: unknown model or observer, no observer, no repeats.
        QutilsError: a fresh process failed; the message says why.
    """
    from qutils import zoo
    from qutils.numerics.schemes import Scheme

    zoo.entry(model)
    for observer in observers:
        Scheme(observer=observer)  # raises on an unknown one
    if not observers or repeats < 1:
        raise InvalidInputError("calibration memory needs at least one observer and one repeat")
    counts = [*pictures] * repeats
    with ThreadPoolExecutor(_workers()) as pool:  # a process's memory is its own: side by side
        found = list(pool.map(lambda count: _peaks(model, observers, count), counts))
    few, many = found[::2], found[1::2]
    return [
        CalibrationMemory(
            model,
            observer,
            pictures,
            few_mib=min(peaks[observer] for peaks in few),
            many_mib=min(peaks[observer] for peaks in many),
            base_mib=min(peaks[""] for peaks in found),
            repeats=repeats,
        )
        for observer in observers
    ]


def _peaks(model: str, observers: Sequence[str], count: int) -> dict[str, float]:
    """Peaks of one fresh process [MiB], as ``calibrate_all`` returns them."""
    names: list[Json] = list(observers)
    peaks: dict[str, float] = call_fresh(
        "qutils.evaluate.bench.calibration:calibrate_all",
        *(model, names, count),
        environment={"OMP_NUM_THREADS": "1"},
    ).result
    return peaks


def _workers() -> int:
    return min(4, core_count())


def calibrate_all(model: str, observers: Sequence[str], count: int) -> dict[str, Json]:
    """Peak by observer [MiB] of calibrating with ``count`` pictures; ``""``: before it began.

    Where the system cannot reset a process's peak, an observer's includes those before it.
    """
    from qutils import zoo
    from qutils.evaluate.bench.fresh import high_water_mib, reset_high_water
    from qutils.numerics.schemes import Recipe, Scheme
    from qutils.quantize.calibration import observe

    module = zoo.load(model)
    split = zoo.dataset(zoo.entry(model).dataset).calibration.take(count)
    peaks: dict[str, Any] = {"": high_water_mib()}
    observation = observe(module, split)
    observing = high_water_mib()
    for name in observers:
        reset_high_water()
        weights = Scheme(granularity="per_channel", observer=name)
        observation.simulate(Recipe(weights, Scheme(observer=name)))
        peaks[name] = max(observing, high_water_mib())
    return peaks
