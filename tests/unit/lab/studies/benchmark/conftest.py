"""A benchmark as measured, with numbers made up."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from qutils.evaluate.bench import Accuracy, CalibrationMemory, Latency, Ratio, Size, StepTimes
from qutils.lab.studies.benchmark import FileFigures
from qutils.lab.studies.benchmark.measure import DEFAULT, EXACT, FLOAT, OURS, PEER, Score, Timing

KEYS = [(FLOAT, EXACT), *((file, s) for s in (EXACT, DEFAULT) for file in (OURS, PEER))]
OVER_FLOAT = {(OURS, EXACT): 1.2, (OURS, DEFAULT): 0.8}
OVER_PEER = {(EXACT, 1): 0.99, (DEFAULT, 1): 1.04, (EXACT, 32): 1.10, (DEFAULT, 32): 1.0}


class Benchmark(NamedTuple):
    files: FileFigures
    memory: list[CalibrationMemory]
    steps: list[StepTimes]


def near(value: float) -> Ratio:
    return Ratio(value, value - 0.02, value + 0.02)


def timing(file: str, session: str, batch: int) -> Timing:
    return Timing(
        "resnet8",
        file,
        session,
        Latency(0.5 * batch, 0.1, 20, batch, 1),
        over_float=near(OVER_FLOAT.get((file, session), 1.0)),
        over_peer=None if file == FLOAT else near(OVER_PEER[session, batch]),
        over_exact=near(0.7 if session == DEFAULT else 1.0),
    )


def score(file: str, session: str) -> Score:
    agreement = {EXACT: 100.0, DEFAULT: 97.5}[session] if file == OURS else None
    top1 = 92.0 if session == EXACT else 91.0
    return Score("resnet8", file, session, Accuracy(top1, 2000, (top1 - 1, top1 + 1)), agreement)


@pytest.fixture
def measured() -> Benchmark:
    """ResNet-8 on a CPU without VNNI: three files, batches 1 and 32, two observers."""
    sizes = {
        ("resnet8", FLOAT): Size(4400, 4000, 40, 0, 10, 1000),
        ("resnet8", OURS): Size(1400, 1000, 40, 100, 10, 1000),
        ("resnet8", PEER): Size(1500, 1000, 40, 150, 10, 1000),
    }
    timings = [timing(*key, batch) for batch in (1, 32) for key in KEYS]
    memory = [
        CalibrationMemory("resnet8", name, (256, 4096), 400.0, many, 380.0, 2)
        for name, many in (("minmax", 404.0), ("mse", 416.0))
    ]
    steps = [
        StepTimes("resnet8", 4, Latency(100, 5, 9, 128, 1), Latency(150, 9, 9, 128, 1), near(1.5))
    ]
    return Benchmark(FileFigures(timings, [score(*key) for key in KEYS], sizes), memory, steps)
