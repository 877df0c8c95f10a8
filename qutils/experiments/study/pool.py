"""Run jobs in worker processes, one thread each, with progress; what is cached is not run again.

Two jobs side by side beat one job on two cores, and one thread gives the same weights on any
number of cores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from qutils.bench.process import TRAINING_ENVIRONMENT
from qutils.experiments.cache import Cache
from qutils.experiments.pace import workers
from qutils.experiments.reuse import Reuse
from qutils.experiments.study.cost import cost
from qutils.experiments.study.job import is_cached
from qutils.experiments.study.plan import Job

#: Predicted work of a job whose outcome is in the cache, in the unit of ``cost``.
_CACHED = 0.1


def run_jobs(jobs: Sequence[Job], cache: Cache | None = None) -> dict[Job, dict[str, Any]]:
    """Outcomes by job. Interrupted, it keeps what is done; the next call continues from there.

    A single job shows the bar of its training.

    Raises: whatever a job raises, after the others that already run have finished.
    """
    cache = cache or Cache()
    outcomes: dict[Job, dict[str, Any]] = {}
    weights = {job: _CACHED if is_cached(job, cache) else cost(job) for job in jobs}
    with _environment(TRAINING_ENVIRONMENT), _executor() as executor:
        arguments = (cache.folder, cache.refresh, len(jobs) == 1)
        futures = {executor.submit(_work, job, *arguments): job for job in jobs}
        for future in _progress(futures, weights):
            outcomes[futures[future]], reuse = future.result()
            cache.count(reuse)
    return {job: outcomes[job] for job in jobs}


def _work(job: Job, folder: Path, refresh: bool, progress: bool) -> tuple[dict[str, Any], Reuse]:
    """In the worker: one job; it counts as reused if nothing had to be computed for it."""
    from qutils.experiments.study.job import run_job

    cache = Cache(folder, refresh)
    outcome = run_job(job, cache, progress)
    files = [outcome[name] for name in ("file", "state") if outcome[name]]
    if not all(Path(file).is_file() for file in files):
        cache = Cache(folder, refresh=True)
        outcome = run_job(job, cache, progress)
    return outcome, Reuse(0, 1) if cache.misses else Reuse(1, 0, cache.origins)


def _progress(
    futures: dict[Future[Any], Job], weights: Mapping[Job, float]
) -> Iterator[Future[Any]]:
    """Futures as they finish, with a bar in shares of the predicted work, and the last one's name.

    The remaining time is ``elapsed / done * left``, in predicted work and not in models: a trained
    one takes twenty times as long as one that is only rounded.
    """
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    total = sum(weights.values())
    with tqdm(total=total, desc="models", bar_format=form, smoothing=0) as bar:
        for number, future in enumerate(as_completed(futures), 1):
            job = futures[future]
            bits = f"W{job.weight_bits}A{job.activation_bits}"
            bar.set_postfix_str(
                f"{number} of {len(futures)}, {job.model} {job.method} {bits}", refresh=False
            )
            bar.update(weights[job])
            yield future


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
