"""Peak memory of calibration, and whether it grows with the number of pictures."""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qutils.bench.process import Json, call_fresh


@dataclass(frozen=True)
class CalibrationMemory:
    """Peak resident memory of calibrating in a fresh process [MiB], medians over ``repeats``.

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
    model: str, observer: str, pictures: tuple[int, int] = (256, 4096), repeats: int = 3
) -> CalibrationMemory:
    """Calibrate a model of the zoo (W8A8 per channel) with few and with many pictures.

    Every figure comes from fresh processes of one thread, which load the whole dataset in both
    cases, observe the pictures and derive the ranges of every tensor.

    Raises:
        InvalidInputError: unknown model or observer.
        QutilsError: a fresh process failed; the message says why.
    """
    from qutils import zoo
    from qutils.schemes import Scheme

    zoo.entry(model)
    Scheme(observer=observer)  # raises on an unknown one
    with ThreadPoolExecutor(_workers()) as pool:  # a process's memory is its own: side by side
        counts = [*pictures] * repeats
        found = list(pool.map(lambda count: _peak(model, observer, count), counts))
    few, many = found[::2], found[1::2]
    return CalibrationMemory(
        model,
        observer,
        pictures,
        few_mib=statistics.median(peak for _, peak in few),
        many_mib=statistics.median(peak for _, peak in many),
        base_mib=statistics.median(base for base, _ in [*few, *many]),
        repeats=repeats,
    )


def _peak(model: str, observer: str, count: int) -> tuple[float, float]:
    """``(before, peak)`` of one fresh process [MiB]."""
    outcome = call_fresh(
        "qutils.bench.calibration:calibrate_once",
        *(model, observer, count),
        environment={"OMP_NUM_THREADS": "1"},
    )
    return outcome.result, outcome.peak_mib


def _workers() -> int:
    return min(4, os.cpu_count() or 1)


def calibrate_once(model: str, observer: str, count: int) -> Json:
    """Calibrate with ``count`` pictures; returns the peak before it began [MiB]."""
    from qutils import zoo
    from qutils.bench.fresh import high_water_mib
    from qutils.calibration import calibrate
    from qutils.schemes import Recipe, Scheme

    module = zoo.load(model)
    split = zoo.dataset(zoo.entry(model).dataset).calibration.take(count)
    recipe = Recipe(Scheme(granularity="per_channel", observer=observer), Scheme(observer=observer))
    before = high_water_mib()
    calibrate(module, split, recipe)
    return before
