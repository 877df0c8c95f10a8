"""What each job costs, in steps of the reference workload, and a plan that fits the machine."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from qutils import zoo
from qutils.lab.results.formats import duration
from qutils.lab.runner.pace import Pace, measured_pace
from qutils.lab.studies.study.plan import Job

#: Profile that is fitted to the machine; a trial is short anyway, ``full`` is never shortened.
FITTED = "default"
#: Longest that a study of the fitted profile is planned to take [s].
LIMIT_SECONDS = 240.0
#: Batch of QAT.
_BATCH = 64


@dataclass(frozen=True)
class Cost:
    """Reference steps of one QAT step, and of 1,000 images scored by the simulation."""

    qat_step: float
    simulated: float


#: CPU time over that of a reference step, medians of turns in one process, on a CPU with AVX-512;
#: with the AVX2 kernels of the same CPU they were within 15 % of these.
COSTS = {"resnet8": Cost(0.62, 2.8), "mobilenetv2": Cost(0.78, 4.0)}
_UNKNOWN = Cost(1.0, 4.0)
#: Reference steps of 1,000 images in ONNX Runtime, of an export, and of whatever else a job does.
_RUN, _EXPORT, _OTHER = 0.8, 5.0, 3.0
#: Time until a worker has imported what it needs and traced a network, in reference steps.
START = 90.0


def cost(job: Job) -> float:
    """Steps of the reference workload that take as long as the job, with one thread."""
    data, own = zoo.dataset(zoo.entry(job.model).dataset), COSTS.get(job.model, _UNKNOWN)
    scored = (job.test_pictures or len(data.test)) / 1000
    if job.method == "fp32":
        return _OTHER + _EXPORT + _RUN * scored
    found = _OTHER + own.simulated * scored
    if job.method == "qat":
        found += own.qat_step * job.epochs * (job.train_pictures or len(data.train)) / _BATCH
    if job.exportable:
        found += _EXPORT + _RUN * scored
    return found


def seconds(jobs: Collection[Job], pace: Pace) -> float:
    """Predicted wall-clock seconds of jobs that have to be computed; 0 for none."""
    if not jobs:
        return 0.0
    return pace.seconds(sum(map(cost, jobs)) + START * pace.workers)


@dataclass(frozen=True)
class Reduction:
    """How jobs are shortened: images that score, share of the QAT epochs, and fewer bit widths."""

    test_images: int
    epochs: float = 1.0
    fewer_bits: bool = False


#: Tried in this order until the work fits.
REDUCTIONS = (
    Reduction(2000),
    Reduction(2000, 0.5),
    Reduction(2000, 0.5, fewer_bits=True),
    Reduction(1000, 0.25, fewer_bits=True),
)


@dataclass(frozen=True)
class Fitted:
    """Jobs that fit the machine; predicted time [s], None if not predicted; what is left out."""

    jobs: tuple[Job, ...]
    seconds: float | None = None
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.seconds is None:
            return "Nothing is left out."
        said = f"Predicted for this machine, with nothing cached: {duration(self.seconds)}."
        if not self.left_out:
            return f"{said} Nothing is left out."
        return (
            f"{said} **Left out, because this machine is slow: {'; '.join(self.left_out)}.** "
            "`-p fit_machine False` leaves out nothing, nor does the `full` profile."
        )


def fit_to_machine(jobs: Sequence[Job], profile: str, fit_machine: bool = True) -> Fitted:
    """Return the jobs of the ``default`` profile as they fit this machine; others as they are.

    Raises:
        QutilsError: the trial that measures the machine failed; the message says why.
    """
    if profile != FITTED:
        return Fitted(tuple(jobs))
    return fit(jobs, measured_pace(), LIMIT_SECONDS if fit_machine else math.inf)


def fit(jobs: Sequence[Job], pace: Pace, limit: float = LIMIT_SECONDS) -> Fitted:
    """Return the jobs, shortened by the first of ``REDUCTIONS`` that fits ``limit`` seconds.

    The last one is taken if none fits. Cached jobs count like others: the plan depends on the
    machine alone, so that the next run plans the same.
    """
    whole = tuple(jobs)
    found = Fitted(whole, seconds(whole, pace))
    for reduction in REDUCTIONS:
        if found.seconds is not None and found.seconds <= limit:
            break
        shorter = tuple(_reduced(job, reduction) for job in _kept(whole, reduction))
        found = Fitted(shorter, seconds(shorter, pace), tuple(_left_out(whole, reduction)))
    return found


def _reduced(job: Job, reduction: Reduction) -> Job:
    most = job.test_pictures or len(zoo.dataset(zoo.entry(job.model).dataset).test)
    epochs = round(job.epochs * reduction.epochs, 4)
    return replace(job, test_pictures=min(most, reduction.test_images), epochs=epochs)


def _kept(jobs: Sequence[Job], reduction: Reduction) -> list[Job]:
    """All jobs, or those without QAT at the bit widths that are left out."""
    left = _bits_left_out(jobs) if reduction.fewer_bits else set()
    return [j for j in jobs if j.method != "qat" or (j.weight_bits, j.activation_bits) not in left]


def _bits_left_out(jobs: Sequence[Job]) -> set[tuple[int, int]]:
    """All pairs of QAT but the narrowest, the widest, and the narrowest of equal widths."""
    pairs = sorted({(j.weight_bits, j.activation_bits) for j in jobs if j.method == "qat"})
    equal = [pair for pair in pairs if pair[0] == pair[1]]
    return set(pairs) - {*pairs[:1], *pairs[-1:], *equal[:1]}


def _left_out(jobs: Sequence[Job], reduction: Reduction) -> Iterator[str]:
    """What the reduction leaves out, a phrase each."""
    images = jobs[0].test_pictures or len(zoo.dataset(zoo.entry(jobs[0].model).dataset).test)
    if reduction.test_images < images:
        yield f"test images beyond the first {reduction.test_images:,} of {images:,}"
    epochs = max((job.epochs for job in jobs if job.method == "qat"), default=0)
    if epochs and reduction.epochs < 1:
        yield f"QAT epochs beyond {epochs * reduction.epochs:g} of {epochs:g}"
    if reduction.fewer_bits and (left := sorted(_bits_left_out(jobs))):
        yield "QAT at " + ", ".join(f"W{w}A{a}" for w, a in left)
