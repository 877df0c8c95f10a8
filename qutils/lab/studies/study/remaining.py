"""How much of a study is done, jobs under way included, so that its remaining time holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qutils.lab.studies.study.plan import Job

#: Share that a job under way counts at most: it is not done before it says so.
_ALMOST = 0.98


class Work:
    """The predicted work of jobs that start in order, ``workers`` at a time.

    A job under way counts by its age. What a unit of work takes is known from the jobs that have
    finished; until the first one has, nothing counts.

    Args:
        weights: predicted work of each job, in the order in which they start.
        now: moment at which the first ones start [s].

    >>> work = Work({"a": 10.0, "b": 10.0, "c": 20.0}, workers=1, now=0.0)
    >>> work.finish("a", 5.0), work.done(7.5)
    (10.0, 15.0)
    """

    def __init__(self, weights: Mapping[Job, float], workers: int, now: float) -> None:
        self._weights = dict(weights)
        self._waiting: Sequence[Job] = list(weights)
        self._begun = dict.fromkeys(self._waiting[:workers], now)
        self._waiting = self._waiting[workers:]
        self._finished = 0.0
        self._seconds = 0.0  # what finished jobs took, each by itself

    @property
    def total(self) -> float:
        """All predicted work."""
        return sum(self._weights.values())

    def finish(self, job: Job, now: float) -> float:
        """Note that a job has finished and the next one starts; return the work that is done."""
        self._finished += self._weights[job]
        self._seconds += now - self._begun.pop(job, now)
        if self._waiting:
            self._begun[self._waiting[0]] = now
            self._waiting = self._waiting[1:]
        return self.done(now)

    def done(self, now: float) -> float:
        """Return the predicted work that is done at a moment [s]."""
        if not self._seconds:
            return self._finished
        pace = self._finished / self._seconds
        ages = ((self._weights[job], pace * (now - begun)) for job, begun in self._begun.items())
        return self._finished + sum(min(_ALMOST * whole, aged) for whole, aged in ages)
