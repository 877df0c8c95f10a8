"""Whether one model is better than another: both scored on the same pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qutils.errors import InvalidInputError
from qutils.evaluate.bench.accuracy import Z95


@dataclass(frozen=True)
class Gain:
    """Percentage points by which ``after`` beats ``before``, with its 95 % interval.

    The interval is over the ``n`` pictures, seeds averaged; ``by_seed`` holds each seed's own gain.
    """

    points: float
    interval: tuple[float, float]
    by_seed: tuple[float, ...]
    n: int

    @property
    def better(self) -> bool:
        """Above zero in every seed, and by more than the choice of pictures explains."""
        return self.interval[0] > 0 and min(self.by_seed) > 0

    @property
    def worse(self) -> bool:
        """Below zero in every seed, and by more than the choice of pictures explains."""
        return self.interval[1] < 0 and max(self.by_seed) < 0

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.points:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}, n = {self.n:,})"
        )


def gain(before: ArrayLike, after: ArrayLike) -> Gain:
    """Compare hits on the same pictures: bool ``[seeds, N]`` each, or ``[N]`` for one seed.

    ``d_i = mean over seeds (after_i - before_i)``, ``points = 100 mean d``,
    ``interval = points -+ 1.96 * 100 std(d) / sqrt(N)``. Pictures that both get right or wrong
    count as 0, which makes it far narrower than the intervals of the two accuracies.

    Raises:
        InvalidInputError: shapes that differ, or fewer than 2 pictures.
    Source: the paired comparison of two proportions; Agresti 2013, "Categorical Data Analysis",
        section 11.1.

    >>> found = gain([True, False, False, True], [True, True, False, True])
    >>> found.points, found.better
    (25.0, False)
    """
    hits = np.atleast_2d(np.asarray(before, float)), np.atleast_2d(np.asarray(after, float))
    if hits[0].shape != hits[1].shape or hits[0].ndim != 2 or hits[0].shape[1] < 2:
        raise InvalidInputError(
            f"hits of shapes {list(hits[0].shape)} and {list(hits[1].shape)} cannot be compared: "
            "give [seeds, N] of the same pictures, at least 2"
        )
    by_seed = 100 * (hits[1] - hits[0]).mean(axis=1)
    by_picture = 100 * (hits[1] - hits[0]).mean(axis=0)
    points, n = float(by_picture.mean()), by_picture.size
    half = Z95 * float(by_picture.std(ddof=1)) / math.sqrt(n)
    return Gain(points, (points - half, points + half), tuple(by_seed.tolist()), n)
