"""Tasks in another process: kept for the next one, and another one after a failure."""

from __future__ import annotations

import sys

import pytest

from qutils.detection import process
from qutils.errors import UnsupportedError

#: Makes its own number; a task of another name fails.
CODE = """
import json, os, sys
for line in sys.stdin:
    order = json.loads(line)
    if order["task"] != "export":
        sys.exit("no such task")
    print(json.dumps({"epoch": 1}), json.dumps({"done": f"{os.getpid()} {order['options']}"}),
          sep="\\n", flush=True)
"""


@pytest.fixture(autouse=True)
def _number(monkeypatch):
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", CODE))


@pytest.fixture
def kept():
    kept = process.Kept()
    yield kept
    kept.end()


def test_a_process_that_is_kept_runs_task_after_task(kept, tmp_path):
    first, second = (kept.run("export", {"size": size}, tmp_path).split(" ", 1) for size in (1, 2))
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("{'size': 1}", "{'size': 2}")


def test_after_a_failure_comes_a_new_process(kept, tmp_path):
    before = kept.run("export", {}, tmp_path)
    with pytest.raises(UnsupportedError, match=r"could not paint \(exit code 1\): no such task"):
        kept.run("paint", {}, tmp_path)
    assert kept.run("export", {}, tmp_path) != before


def test_a_process_that_was_killed_is_replaced(kept, tmp_path):
    before = kept.run("export", {}, tmp_path)
    kept._running.kill()
    kept._running.wait()
    assert kept.run("export", {}, tmp_path) != before


def test_ending_ends_the_process(kept, tmp_path):
    kept.run("export", {}, tmp_path)
    running = kept._running
    kept.end()
    assert running.poll() is not None
    kept.end()  # a second time does nothing


def test_a_process_of_its_own_tells_of_events_and_ends(tmp_path):
    heard = []
    first, second = (process.run("export", {}, tmp_path, heard.append) for _ in range(2))
    assert heard == [{"epoch": 1}] * 2
    assert first != second


def test_a_command_that_does_not_start_is_told_in_its_words(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", "raise SystemExit('broken')"))
    with pytest.raises(UnsupportedError, match=r"could not export \(exit code 1\): broken"):
        kept.run("export", {}, tmp_path)
