"""How fast this machine trains, measured once and kept, so that work can be planned for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from qutils.cores import core_count
from qutils.evaluate.bench.reference import trial_step
from qutils.lab.results.cache import Cache
from qutils.lab.results.provenance import cpu_model, isa_flags


@dataclass(frozen=True)
class Pace:
    """Seconds of one step of the reference workload with ``workers`` trainings side by side."""

    step_seconds: float
    workers: int

    def seconds(self, steps: float) -> float:
        """Wall-clock seconds of work that takes ``steps`` reference steps, shared by the workers.

        >>> Pace(0.1, 2).seconds(300)
        15.0
        """
        return self.step_seconds * steps / self.workers

    def __str__(self) -> str:
        beside = "" if self.workers == 1 else f", {self.workers} side by side"
        return f"{1000 * self.step_seconds:.0f} ms a training step of ResNet-8{beside}"


def workers() -> int:
    """Two, or one on a machine with a single core."""
    return min(2, core_count())


def measured_pace(folder: Path | None = None, refresh: bool | None = None) -> Pace:
    """Return the pace of this machine: from the cache, or else from a trial of a few seconds.

    It is kept so that the next run plans the same work and can reuse its results.

    Args:
        folder, refresh: as in ``Cache``.

    Raises:
        QutilsError: the trial failed; the message says why.
    """
    cache = Cache(folder, refresh)
    machine = {"cpu": cpu_model(), "isa": list(isa_flags()), "cores": core_count()}
    key = {"pace": machine, "workers": workers()}

    def trial() -> float:
        print("Measuring the speed of this machine: a few seconds", file=sys.stderr, flush=True)
        return trial_step(workers())

    return Pace(float(cache.get_or_compute(key, trial)), workers())
