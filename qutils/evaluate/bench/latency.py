"""Latency with discipline: warm-up, fixed and stated threads, many repeats, median and IQR."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qutils.backends.runtimes import Runtime, load
from qutils.backends.shared.runtime import Arrays, check_batch
from qutils.errors import InvalidInputError

Milliseconds = NDArray[np.float64]


class Candidate(Protocol):
    """What can be timed: a runtime, or anything with ``run`` that states its threads."""

    @property
    def threads(self) -> int: ...
    def run(self, batch: Any) -> object: ...


#: Calls in front of a timed one: the first ones after another candidate's are slower, because
#: weights and buffers have left the caches, and by how much depends on that other.
WARM = 5


@dataclass(frozen=True)
class Latency:
    """Time of one call: median and interquartile range in milliseconds."""

    median_ms: float
    iqr_ms: float
    repeats: int
    batch: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.median_ms:.3g} ms (IQR {self.iqr_ms:.2g} ms, {self.repeats} calls, "
            f"batch {self.batch}, threads {self.threads})"
        )


@dataclass(frozen=True)
class Ratio:
    """Median of paired latency ratios with the 95 % interval of that median."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Candidates timed in turns; ``ratios[name]`` is the latency of name over that of baseline."""

    baseline: str
    latencies: dict[str, Latency]
    ratios: dict[str, Ratio]
    times: dict[str, Milliseconds] = field(repr=False, compare=False)  # [repeats], by round

    def ratio(self, name: str, over: str) -> Ratio:
        """Latency of one candidate over that of another, paired by round."""
        return paired_ratio(self.times[name], self.times[over])


def latency(
    model: Runtime | str | Path,
    batch: Arrays | int = 1,
    *,
    threads: int = 1,
    repeats: int = 100,
    warmup: int = 10,
) -> Latency:
    """Time a runtime, or a model file in ONNX Runtime, on a batch (an array or a batch size).

    ``threads`` counts for a file; a runtime keeps its own. Of several inputs the batch is a dict of
    arrays by name.

    Raises:
        InvalidInputError: repeats below 5, warmup below 1, batch that the model does not take.
    """
    if not isinstance(model, Runtime | str | Path):
        raise InvalidInputError(
            f"latency is measured of a runtime or a model file, got {type(model).__name__}: "
            "q.export(sim, path) writes one"
        )
    runtime = model if isinstance(model, Runtime) else load(model, threads=threads)
    array = normal_batch(runtime, batch) if isinstance(batch, int) else batch
    times = _interleaved({"": runtime}, array, repeats, warmup)[""]
    return _summary(times, array, runtime)


def compare(
    candidates: Mapping[str, Candidate],
    batch: Arrays,
    *,
    baseline: str | None = None,
    repeats: int = 100,
    warmup: int = 10,
    warm: int = WARM,
) -> Comparison:
    """Time candidates in turns within one run, so that a noisy machine disturbs all alike.

    Ratio of a candidate: median over rounds of ``t[name] / t[baseline]``; baseline is the first
    candidate unless named. Every turn calls a few times before the call that is timed, as others'
    data and code left the caches; the order is drawn anew for each round, always the same way: with
    a fixed one each candidate would follow the same other, whose traces differ.

    Args:
        warm: calls before each timed one; one is enough for calls that leave nothing in the caches.

    Raises:
        InvalidInputError: no candidate, unknown baseline, different threads, repeats below 5.
    """
    if not candidates:
        raise InvalidInputError("nothing to compare: give at least one candidate")
    reference = next(iter(candidates)) if baseline is None else baseline
    if reference not in candidates:
        raise InvalidInputError(f"baseline {reference!r} is none of {', '.join(candidates)}")
    threads = {name: candidate.threads for name, candidate in candidates.items()}
    if len(set(threads.values())) > 1:
        raise InvalidInputError(f"candidates use different numbers of threads: {threads}")
    times = _interleaved(candidates, batch, repeats, warmup, warm)
    return Comparison(
        baseline=reference,
        latencies={name: _summary(times[name], batch, candidates[name]) for name in candidates},
        ratios={name: paired_ratio(times[name], times[reference]) for name in candidates},
        times=times,
    )


@dataclass(frozen=True)
class _Call:
    """A call as a candidate: it has its batch, and what it states of threads does not matter."""

    call: Callable[[], object]
    threads: int = 1

    def run(self, batch: object) -> object:
        return self.call()


def in_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 100,
    warmup: int = 10,
    warm: int = WARM,
) -> dict[str, Milliseconds]:
    """Return the milliseconds of calls timed in turns, ``[repeats]`` each, paired by round.

    As ``compare``, for calls that differ in their batches or threads.

    Raises:
        InvalidInputError: repeats below 5, warmup below 1.
    """
    candidates = {name: _Call(call) for name, call in calls.items()}
    return _interleaved(candidates, {}, repeats, warmup, warm)


def paired_ratio(times: Milliseconds, baseline: Milliseconds) -> Ratio:
    """Median of ``times / baseline`` ``[R]`` and its 95 % interval from order statistics.

    The ranks ``R/2 -+ 1.96 * sqrt(R)/2`` enclose the median whatever the distribution
    (binomial, normal approximation).

    >>> paired_ratio(np.full(9, 3.0), np.full(9, 2.0))
    Ratio(median=1.5, low=1.5, high=1.5)
    """
    ratios = np.sort(times / baseline)
    half = 1.96 * math.sqrt(ratios.size) / 2
    low = max(0, math.floor(ratios.size / 2 - half))
    high = min(ratios.size - 1, math.ceil(ratios.size / 2 + half) - 1)
    return Ratio(float(np.median(ratios)), float(ratios[low]), float(ratios[high]))


def normal_batch(
    runtime: Runtime, size: int | None = None, sizes: Sequence[int] | None = None
) -> NDArray[Any]:
    """Standard normal batch ``[size, *sizes]`` of the runtime's input; always the same one.

    Args:
        size: None takes the batch size that the file fixes, or 1.
        sizes: the axes after the batch, where the file leaves them open.

    Raises:
        InvalidInputError: size below 1, a batch size that the file does not take, or an open axis
            without a size.
    """
    first, *inner = runtime.input_shape
    fixed = first if isinstance(first, int) else None
    size = (fixed or 1) if size is None else size
    if size < 1 or (fixed is not None and size != fixed):
        raise InvalidInputError(
            f"cannot make a batch of {size} for input {list(runtime.input_shape)}"
            + (f": its batch size is fixed, give {fixed}" if fixed else "")
        )
    chosen = [axis for axis in sizes or inner if isinstance(axis, int)]
    if len(chosen) != len(inner):
        raise InvalidInputError(
            f"input {list(runtime.input_shape)} leaves axes open: give an array, or the sizes of "
            f"all {len(inner)} after the batch (qutils explain --sizes "
            f"{'x'.join(str(64) for _ in inner)})"
        )
    batch = np.random.default_rng(0).standard_normal([size, *chosen])
    return check_batch(batch.astype(runtime.dtype), runtime.input_shape, runtime.dtype)


def _interleaved(
    candidates: Mapping[str, Candidate],
    batch: Arrays,
    repeats: int,
    warmup: int,
    warm: int = WARM,
) -> dict[str, Milliseconds]:
    """Milliseconds of one call, ``[repeats]`` for each candidate, paired by round."""
    if repeats < 5 or warmup < 1:
        raise InvalidInputError(f"need repeats >= 5 and warmup >= 1, not {repeats} and {warmup}")
    for candidate in candidates.values():
        for _ in range(warmup):
            candidate.run(batch)
    names, draw = list(candidates), random.Random(0)
    times = {name: np.empty(repeats) for name in names}
    with _no_collection():
        for turn in range(repeats):
            for name in draw.sample(names, len(names)):
                run = candidates[name].run
                for _ in range(warm if len(names) > 1 else 0):
                    run(batch)
                start = time.perf_counter_ns()
                run(batch)
                times[name][turn] = (time.perf_counter_ns() - start) * 1e-6
    return times


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the timed calls."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _summary(times: Milliseconds, batch: Arrays, candidate: Candidate) -> Latency:
    q25, median, q75 = np.percentile(times, [25, 50, 75])
    return Latency(
        float(median), float(q75 - q25), times.size, samples_of(batch), candidate.threads
    )


def samples_of(batch: Arrays) -> int:
    """Return the number of samples of a batch, along the first axis; 1 if no array has one.

    >>> samples_of({"rate": np.array(16000), "x": np.zeros((4, 3))})
    4
    """
    several = batch.values() if isinstance(batch, Mapping) else [batch]
    return next((len(x) for x in several if x.ndim), 1)
