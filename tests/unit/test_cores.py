"""Cores and threads: those of this process, not of the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qutils.cores import core_count, thread_limit


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_confined_process_has_fewer_cores():
    code = (
        "import os; from qutils.cores import core_count\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "print(core_count())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["1"]


@pytest.mark.parametrize("limit", ["", "0", "-1", "all", ","])
def test_without_a_limit_all_cores_are_used(monkeypatch, limit):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert thread_limit() == core_count()


@pytest.mark.parametrize("limit", ["7", " 7 ", "7,2"])
def test_a_limit_is_kept(monkeypatch, limit):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert thread_limit() == 7
