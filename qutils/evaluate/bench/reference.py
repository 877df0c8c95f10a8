"""A reference workload, by which machines are compared: durations are given in multiples of it.

The workload is ``STEPS`` FP32 training steps of ResNet-8 on batches of ``BATCH`` images with one
thread, and one export of it by ``torch.onnx``: what most of this project's time is spent on.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qutils.cores import core_count
from qutils.evaluate.bench.process import TRAINING_ENVIRONMENT, Json, call_fresh

if TYPE_CHECKING:  # torch and the zoo are imported where training runs: in the fresh process
    from collections.abc import Callable

MODEL, STEPS, BATCH = "resnet8", 100, 128
#: Steps of a trial, from whose median the time of all is predicted, and steps before them.
_TRIAL, _WARMUP = 12, 2


@dataclass(frozen=True)
class Reference:
    """Duration of the reference workload on this machine [s]."""

    training_seconds: float
    export_seconds: float

    @property
    def seconds(self) -> float:
        """The unit of durations that are given in multiples."""
        return self.training_seconds + self.export_seconds

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s ({STEPS} training steps {self.training_seconds:.1f} s, "
            f"one ONNX export {self.export_seconds:.1f} s)"
        )


def reference_workload() -> Reference:
    """Run the workload in a fresh process of one thread: about 15 s on a fast CPU.

    Raises:
        QutilsError: the fresh process failed; the message says why.
    """
    order = "qutils.evaluate.bench.reference:run_workload"
    found = call_fresh(order, environment=TRAINING_ENVIRONMENT).result
    return Reference(found["training"], found["export"])


def trial_step(side_by_side: int | None = None) -> float:
    """Return the seconds of one step of the workload, from a trial of a few seconds.

    Args:
        side_by_side: how many trainings run at once, each with one thread; None takes two, or one
            on a machine with one core. They share caches and memory, so that each is slower.

    Raises:
        QutilsError: a fresh process failed; the message says why.
    """
    count = min(2, core_count()) if side_by_side is None else side_by_side
    order = "qutils.evaluate.bench.reference:time_steps"
    with ThreadPoolExecutor(count) as pool:
        calls = [
            pool.submit(call_fresh, order, _TRIAL, environment=TRAINING_ENVIRONMENT)
            for _ in range(count)
        ]
        return max(float(call.result().result) for call in calls)


def run_workload() -> dict[str, Json]:
    """What ``reference_workload`` runs in its fresh process: seconds by part."""
    import tempfile
    from pathlib import Path

    from qutils import zoo
    from qutils.backends.shared.onnx_writer import export_float

    step = _step()
    step()  # imports and buffers of the first call are not the workload
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    trained = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        shape = zoo.entry(MODEL).input_shape
        export_float(zoo.load(MODEL), shape, Path(folder) / "reference.onnx")
    return {"training": trained - started, "export": time.perf_counter() - trained}


def time_steps(steps: int) -> float:
    """What ``trial_step`` runs in each of its fresh processes: median seconds of a step."""
    step, times = _step(), []
    for _ in range(_WARMUP + steps):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times[_WARMUP:])


def _step() -> Callable[[], None]:
    """One FP32 training step on images in memory."""
    import torch

    from qutils import zoo
    from qutils.evaluate.bench.training import float_step

    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = next(iter(zoo.dataset(zoo.entry(MODEL).dataset).train.batches(BATCH)))
    step = float_step(MODEL, labels)
    return lambda: step.run(images.numpy())
