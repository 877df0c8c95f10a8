from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from qutils.backends.runtimes import load
from qutils.errors import InvalidInputError
from qutils.evaluate import bench
from qutils.evaluate.bench.latency import WARM, normal_batch, paired_ratio

BATCH = np.zeros((2, 1), np.float32)


class Spy:
    """Counts its calls in a shared log."""

    def __init__(self, name="spy", log=None, seconds=0.0, threads=1):
        self.name, self.seconds, self.threads = name, seconds, threads
        self.log = [] if log is None else log

    def run(self, batch):
        self.log.append((self.name, gc.isenabled()))
        time.sleep(self.seconds)


def test_latency_of_a_file_states_its_conditions(files):
    found = bench.latency(files.int8, 3, repeats=7, warmup=1)
    assert (found.repeats, found.batch, found.threads) == (7, 3, 1)
    assert found.median_ms > 0
    assert found.iqr_ms >= 0
    assert "7 calls, batch 3, threads 1" in str(found)


def test_latency_of_a_runtime_keeps_its_threads(files):
    assert bench.latency(load(files.fp32, threads=2), repeats=5, warmup=1).threads == 2


def test_latency_takes_an_array(files):
    batch = np.ones((4, 1, 8, 8), np.float32)
    assert bench.latency(files.fp32, batch, repeats=5, warmup=1).batch == 4


def test_batch_of_the_wrong_shape(files):
    with pytest.raises(InvalidInputError, match="expects"):
        bench.latency(files.fp32, np.ones((4, 3, 8, 8), np.float32))


def test_milliseconds_are_milliseconds():
    found = bench.compare({"a": Spy(seconds=0.002)}, BATCH, repeats=5, warmup=1).latencies["a"]
    assert found.median_ms >= 2


def test_candidates_take_turns_in_an_order_that_changes():
    log = []
    bench.compare({n: Spy(n, log) for n in "abc"}, BATCH, repeats=30, warmup=1)
    names = "".join(name for name, _ in log)
    assert names[:3] == "abc"  # the warm-up
    calls = WARM + 1
    rounds = ["".join(names[i : i + 3 * calls : calls]) for i in range(3, len(names), 3 * calls)]
    assert len(rounds) == 30
    assert {"".join(sorted(order)) for order in rounds} == {"abc"}
    assert len(set(rounds)) == 6
    assert names[3:] == "".join(name * calls for order in rounds for name in order)


def test_garbage_collector_rests_only_while_timing():
    log = []
    bench.compare({"a": Spy(log=log)}, BATCH, repeats=5, warmup=1)
    assert [enabled for _, enabled in log] == [True] + [False] * 5
    assert gc.isenabled()


def test_slower_candidate_has_the_larger_ratio():
    pair = {"fast": Spy(seconds=0.001), "slow": Spy(seconds=0.004)}
    found = bench.compare(pair, BATCH, repeats=9, warmup=1)
    assert found.baseline == "fast"
    assert found.ratios["fast"] == bench.Ratio(1, 1, 1)
    slow = found.ratios["slow"]
    assert slow.median > 1
    assert slow.low <= slow.median <= slow.high
    assert bench.compare(pair, BATCH, baseline="slow", repeats=5).ratios["fast"].median < 1


def test_any_two_candidates_can_be_paired():
    found = bench.compare({n: Spy(n) for n in "abc"}, BATCH, repeats=5, warmup=1)
    assert found.ratio("b", over="a") == found.ratios["b"]
    assert found.ratio("c", over="b") == paired_ratio(found.times["c"], found.times["b"])
    assert found.ratio("b", over="b") == bench.Ratio(1, 1, 1)


def test_ratio_pairs_rounds_so_that_drift_cancels():
    drift = np.linspace(1, 10, 101)
    assert paired_ratio(1.5 * drift, drift) == bench.Ratio(1.5, 1.5, 1.5)


def test_interval_of_the_median_has_its_ranks():
    ratio = paired_ratio(np.arange(1.0, 101.0), np.ones(100))
    assert (ratio.median, ratio.low, ratio.high) == (50.5, 41.0, 60.0)  # ranks 41 and 60 of 100


def test_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    ratios = [paired_ratio(np.exp(rng.standard_normal(60)), np.ones(60)) for _ in range(1000)]
    assert 0.93 <= np.mean([r.low <= 1 <= r.high for r in ratios]) <= 0.98


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        ({}, {}, "nothing to compare"),
        ({"a": Spy()}, {"baseline": "b"}, "baseline 'b'"),
        ({"a": Spy(), "b": Spy(threads=2)}, {}, "different numbers of threads"),
        ({"a": Spy()}, {"repeats": 4}, "repeats >= 5"),
        ({"a": Spy()}, {"warmup": 0}, "warmup >= 1"),
    ],
    ids=["none", "baseline", "threads", "repeats", "warmup"],
)
def test_bad_comparison(candidates, options, message):
    with pytest.raises(InvalidInputError, match=message):
        bench.compare(candidates, BATCH, **options)


def test_normal_batch_repeats_itself(files):
    runtime = load(files.fp32)
    batch = normal_batch(runtime, 5)
    assert (batch.shape, batch.dtype) == ((5, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(batch, normal_batch(runtime, 5))
    with pytest.raises(InvalidInputError, match="batch of 0"):
        normal_batch(runtime, 0)
