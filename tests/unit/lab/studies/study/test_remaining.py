"""The remaining time of a study: what it shows while jobs are under way."""

from __future__ import annotations

import pytest

from qutils.lab.studies.study.remaining import Work


def left(work, elapsed):
    """Remaining time as the bar shows it [s]."""
    done = work.done(elapsed)
    return elapsed / done * (work.total - done)


def test_the_remaining_time_holds_while_jobs_are_under_way():
    work = Work(dict.fromkeys("abcdefgh", 30.0), workers=2, now=0.0)
    end = 4 * 33.0  # a tenth slower than predicted, two at a time
    for start, pair in ((0.0, "ab"), (33.0, "cd"), (66.0, "ef"), (99.0, "gh")):
        for moment in range(1, 33):
            if start:  # from the first result on
                assert left(work, start + moment) == pytest.approx(end - start - moment, abs=1.5)
        for job in pair:
            work.finish(job, start + 33.0)
    assert work.done(end) == work.total


def test_a_job_that_takes_longer_is_not_done_before_it_ends():
    work = Work({"a": 10.0, "b": 10.0}, workers=1, now=0.0)
    assert work.done(1e6) == 0  # what a unit takes is not known
    assert work.finish("a", 10.0) == 10.0
    assert 19.0 < work.done(1000.0) < 20.0
    assert work.finish("b", 1000.0) == 20.0
