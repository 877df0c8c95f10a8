"""Paired gains against McNemar's counts, and the coverage that their interval promises."""

import math

import numpy as np
import pytest

from qutils.errors import InvalidInputError
from qutils.evaluate import bench


def test_one_seed_equals_the_counts_of_mcnemar():
    """With b gained and c lost of n: ``(b - c) / n``, variance ``(b + c - (b - c)^2 / n) / n``."""
    rng = np.random.default_rng(0)
    before, after = rng.random(500) < 0.7, rng.random(500) < 0.8
    b, c, n = (~before & after).sum(), (before & ~after).sum(), 500
    found = bench.gain(before, after)
    assert found.points == pytest.approx(100 * (b - c) / n)
    half = 1.959964 * 100 * math.sqrt((b + c - (b - c) ** 2 / n) / n / (n - 1))
    assert found.interval == pytest.approx((found.points - half, found.points + half))
    assert found.n == n


def test_seeds_are_averaged_and_each_is_told():
    before = np.array([[0, 0, 1, 1], [0, 1, 1, 0]])
    after = np.array([[1, 0, 1, 1], [0, 1, 1, 0]])
    found = bench.gain(before, after)
    assert found.by_seed == (25.0, 0.0)
    assert found.points == 12.5
    assert not found.better  # one seed shows no gain
    assert not found.worse


def test_a_clear_gain_is_better_and_its_reverse_worse():
    rng = np.random.default_rng(0)
    low, high = rng.random((3, 400)) < 0.5, rng.random((3, 400)) < 0.9
    assert bench.gain(low, high).better
    assert bench.gain(high, low).worse
    assert not bench.gain(high, high).better
    assert str(bench.gain(low, high)).startswith("+")


def test_the_interval_covers_the_truth_as_often_as_promised():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1_000):
        both = rng.random(300)
        before, after = both < 0.80, (both + 0.1 * rng.random(300)) < 0.85  # true gain: 0
        low, high = bench.gain(before, after).interval
        covered += low <= 0 <= high
    assert 0.92 < covered / 1_000 < 0.98


@pytest.mark.parametrize(
    ("before", "after"),
    [([True, False], [True]), ([True], [True]), ([[[True, True]]], [[[True, True]]]), ([], [])],
    ids=["lengths", "one picture", "axes", "empty"],
)
def test_what_cannot_be_compared_is_refused(before, after):
    with pytest.raises(InvalidInputError, match="cannot be compared"):
        bench.gain(before, after)
