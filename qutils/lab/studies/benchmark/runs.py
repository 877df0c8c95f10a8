"""The benchmark's three measurements, each over all models of a profile, with progress.

Nothing is kept for the next run: a latency belongs to the machine and the hour it was taken in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm.auto import tqdm

from qutils.evaluate import bench
from qutils.lab.studies.benchmark.measure import Score, Timing, make_files, score_files, time_files
from qutils.lab.studies.benchmark.plan import Profile

T = TypeVar("T")


@dataclass(frozen=True)
class FileFigures:
    """Latency, accuracy and size of the files of all models."""

    timings: list[Timing]
    scores: list[Score]
    sizes: dict[tuple[str, str], bench.Size]  # by model and file


def measure_files(size: Profile) -> FileFigures:
    """Write, time and score the files of every model."""
    found = FileFigures([], [], {})
    for model in _progress(size.models, "files", "model"):
        with tempfile.TemporaryDirectory() as folder:
            files = make_files(model, size.calibration_pictures, Path(folder))
            found.sizes.update({(model, f): bench.size_of(p) for f, p in files.paths.items()})
            for batch in size.batches:
                found.timings.extend(time_files(files, batch, size.repeats, size.threads))
            found.scores.extend(score_files(files, size.test_pictures))
    return found


def measure_memory(size: Profile) -> list[bench.CalibrationMemory]:
    """Peak memory of calibration with few and with many pictures, for every observer."""
    return [
        found
        for model in _progress(size.memory_models, "calibration memory", "model")
        for found in bench.calibration_memory(
            model, size.observers, size.memory_pictures, size.memory_repeats
        )
    ]


def measure_steps(size: Profile) -> list[bench.StepTimes]:
    """A QAT step beside an FP32 training step, for every model."""
    return [
        bench.training_steps(
            model, batch=size.step_batch, repeats=size.step_repeats, threads=size.threads
        )
        for model in _progress(size.models, "training steps", "model")
    ]


def _progress(items: Iterable[T], label: str, unit: str) -> Iterator[T]:
    yield from tqdm(items, desc=label, unit=unit)
