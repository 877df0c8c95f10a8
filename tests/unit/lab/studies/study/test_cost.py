"""The default profile fits the machine: what is left out is said, and nothing else changes."""

from __future__ import annotations

import math

import pytest

from qutils.lab.results.cache import Cache
from qutils.lab.runner import pace
from qutils.lab.runner.pace import Pace, measured_pace
from qutils.lab.studies.study import cost, plan_jobs
from qutils.lab.studies.study.cost import REDUCTIONS, fit, fit_to_machine, seconds
from qutils.numerics.observers import OBSERVERS

FAST, SLOW, SLOWEST = Pace(0.06, 2), Pace(0.4, 2), Pace(10.0, 2)


def jobs_of(profile):
    return plan_jobs(
        ["resnet8", "mobilenetv2"], ["ptq", "qat"], [2, 3, 4, 8], [4, 8], list(OBSERVERS),
        ["per_channel", "per_tensor"], profile,
    )  # fmt: skip


@pytest.fixture(scope="module")
def jobs():
    return jobs_of("default")


def test_a_fast_machine_leaves_nothing_out(jobs):
    found = fit(jobs, FAST)
    assert found.jobs == tuple(jobs)
    assert found.left_out == ()
    assert found.seconds == seconds(jobs, FAST) <= cost.LIMIT_SECONDS
    assert "Nothing is left out" in str(found)


def test_time_grows_with_the_pace_and_falls_with_the_workers(jobs):
    assert seconds(jobs, SLOW) > 5 * seconds(jobs, FAST)
    assert seconds(jobs, Pace(0.4, 1)) > 1.5 * seconds(jobs, SLOW)
    assert seconds([], SLOW) == 0


def test_a_slow_machine_fits_and_says_what_is_left_out(jobs):
    slow = Pace(1.1 * FAST.step_seconds * cost.LIMIT_SECONDS / seconds(jobs, FAST), 2)
    found = fit(jobs, slow)
    assert found.seconds <= cost.LIMIT_SECONDS < seconds(jobs, slow)
    assert found.jobs != tuple(jobs)
    assert {job.test_pictures for job in found.jobs} == {2000}
    said = str(found)
    for what in found.left_out:
        assert what in said
    assert "because this machine is slow" in said
    assert {job.model for job in found.jobs} == {"resnet8", "mobilenetv2"}


def test_every_reduction_shortens_and_the_last_is_taken_if_none_fits(jobs):
    times = [seconds(jobs, SLOW)]
    for _ in REDUCTIONS:
        limit = times[-1] * 0.999
        times.append(fit(jobs, SLOW, limit).seconds)
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == len(REDUCTIONS) + 1
    last = fit(jobs, SLOWEST)
    assert last.seconds > cost.LIMIT_SECONDS
    assert last.left_out == (
        "test images beyond the first 1,000 of 4,000",
        "QAT epochs beyond 0.1 of 0.4",
        "QAT at W3A8, W4A8",
    )
    kept = {(j.weight_bits, j.activation_bits) for j in last.jobs if j.method == "qat"}
    assert kept == {(2, 8), (4, 4), (8, 8)}
    assert sum(j.method != "qat" for j in last.jobs) == sum(j.method != "qat" for j in jobs)


def test_only_the_default_profile_is_fitted(monkeypatch):
    monkeypatch.setattr(cost, "measured_pace", lambda: SLOWEST)
    for profile in ("smoke", "full"):
        jobs = jobs_of(profile)
        found = fit_to_machine(jobs, profile)
        assert (found.jobs, found.seconds, found.left_out) == (tuple(jobs), None, ())
    assert fit_to_machine(jobs_of("default"), "default").left_out
    whole = fit_to_machine(jobs_of("default"), "default", fit_machine=False)
    assert whole.left_out == ()
    assert math.isfinite(whole.seconds)


def test_the_pace_is_measured_once_and_anew_on_request(tmp_path, monkeypatch):
    trials = iter([0.2, 0.3])
    monkeypatch.setattr(pace, "trial_step", lambda workers: next(trials))
    assert measured_pace(tmp_path).step_seconds == 0.2
    assert measured_pace(tmp_path).step_seconds == 0.2
    assert measured_pace(tmp_path, refresh=True).step_seconds == 0.3
    monkeypatch.setattr(pace, "isa_flags", lambda: ("another",))
    with pytest.raises(StopIteration):
        measured_pace(tmp_path)
    assert not list(Cache(tmp_path).folder.rglob("*.part"))
