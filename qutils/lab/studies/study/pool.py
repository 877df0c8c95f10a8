"""Run jobs in worker processes, one thread each, with progress; what is cached is not run again.

Two jobs side by side beat one job on two cores, and one thread gives the same weights on any
number of cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from qutils.evaluate.bench.process import TRAINING_ENVIRONMENT
from qutils.lab.results.cache import Cache
from qutils.lab.results.reuse import Reuse
from qutils.lab.runner.pace import workers
from qutils.lab.studies.study.cost import START, cost
from qutils.lab.studies.study.job import has_files, is_cached, run_job
from qutils.lab.studies.study.plan import Job
from qutils.lab.studies.study.remaining import Work

#: How often the remaining time is shown anew [s].
_TICK = 2.0


def run_jobs(jobs: Sequence[Job], cache: Cache | None = None) -> dict[Job, dict[str, Any]]:
    """Outcomes by job. Interrupted, it keeps what is done; the next call continues from there.

    A single job shows the bar of its training.

    Raises: whatever a job raises, after the others that already run have finished.
    """
    cache = cache or Cache()
    kept = {job for job in jobs if is_cached(job, cache)}
    outcomes: dict[Job, dict[str, Any]] = {}
    for job in kept:  # nothing to compute: no process is started
        outcomes[job], reuse = _work(job, cache.folder, cache.refresh, progress=False)
        cache.count(reuse)
    left = [job for job in jobs if job not in kept]
    with _progress(left) as finished:
        for job, outcome, reuse in _computed(left, cache, lambda: finished(None)):
            outcomes[job] = outcome
            cache.count(reuse)
            finished(job)
    return {job: outcomes[job] for job in jobs}


def _computed(
    jobs: Sequence[Job], cache: Cache, tick: Callable[[], None]
) -> Iterator[tuple[Job, dict[str, Any], Reuse]]:
    """Jobs, their outcomes and what they reused, as worker processes finish them.

    ``tick`` is called while none does.
    """
    if not jobs:
        return
    with _environment(TRAINING_ENVIRONMENT), _executor() as executor:
        arguments = (cache.folder, cache.refresh, len(jobs) == 1)
        futures = {executor.submit(_work, job, *arguments): job for job in jobs}
        pending = set(futures)
        while pending:
            ended, pending = wait(pending, _TICK, FIRST_COMPLETED)
            for future in ended:
                yield futures[future], *future.result()
            tick()


def _work(job: Job, folder: Path, refresh: bool, progress: bool) -> tuple[dict[str, Any], Reuse]:
    """In the worker: one job; it counts as reused if nothing had to be computed for it."""
    cache = Cache(folder, refresh)
    outcome = run_job(job, cache, progress)
    if not has_files(outcome):
        cache = Cache(folder, refresh=True)
        outcome = run_job(job, cache, progress)
    return outcome, Reuse(0, 1) if cache.misses else Reuse(1, 0, cache.origins)


@contextmanager
def _progress(jobs: Sequence[Job]) -> Iterator[Callable[[Job | None], None]]:
    """A bar in shares of the predicted work; what it gives says that a job is finished, or None is.

    The remaining time is ``elapsed / done * left``, in predicted work and not in models: a trained
    one takes many times as long as one that is only rounded.
    """
    if len(jobs) < 2:  # nothing to compute, or a job that shows a bar of its own
        yield lambda job: None
        return
    weights = {job: cost(job) + START * (place < workers()) for place, job in enumerate(jobs)}
    work, done = Work(weights, workers(), time.monotonic()), count(1)
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    with tqdm(total=work.total, desc="models", bar_format=form, smoothing=0) as bar:

        def finished(job: Job | None) -> None:
            now = time.monotonic()
            if job is not None:
                work.finish(job, now)
                bits = f"W{job.weight_bits}A{job.activation_bits}"
                shown = f"{next(done)} of {len(jobs)}, {job.model} {job.method} {bits}"
                bar.set_postfix_str(shown, refresh=False)
            bar.update(work.done(now) - bar.n)

        yield finished


@contextmanager
def _executor() -> Iterator[ProcessPoolExecutor]:
    executor = ProcessPoolExecutor(workers(), mp_context=get_context("spawn"))
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for the processes started inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
