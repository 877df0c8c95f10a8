"""Commands are really run and timed; what fails leaves no time behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from qutils.errors import InvalidInputError, QutilsError
from qutils.evaluate.bench.reference import Reference
from qutils.lab.results import gallery
from qutils.lab.results.cache import Cache
from qutils.lab.results.results import Results
from qutils.lab.results.reuse import Reuse, load_reuse
from qutils.lab.runner import timings
from qutils.lab.runner.timings import Step, of_full, timed
from tests.unit.lab.results.test_gallery import pages, write_report
from tests.unit.lab.runner.toy import ok, origin, results

REFERENCE = Reference(8.0, 2.0)


def python(code: str, name: str = "step", minutes: float | None = 1.0, **environment: str) -> Step:
    return Step(name, (sys.executable, "-c", code), minutes, "a note", environment)


def test_a_step_takes_as_long_as_its_command(tmp_path):
    (check,) = timed([python("import time; time.sleep(1.3)")], tmp_path, REFERENCE)
    assert 0.02 <= check.value < 1
    assert (check.unit, check.target, check.passed) == ("min", 1.0, True)
    assert re.fullmatch(r"\d\.\d times the reference workload; a note", check.note)
    assert timed([python("", minutes=None)], tmp_path, REFERENCE)[0].passed is None


def test_a_failing_command_ends_it(tmp_path):
    done = tmp_path / "done"
    steps = [python("raise SystemExit(3)"), python(f"open({str(done)!r}, 'w')")]
    with pytest.raises(QutilsError, match=r"exit code 3\): nothing was written"):
        timed(steps, tmp_path, REFERENCE)
    assert not done.exists()


def test_a_step_that_makes_reports_says_what_it_reused(tmp_path):
    code = (
        "import os; from pathlib import Path; from qutils.lab.results.reuse import Reuse; "
        "Reuse(3, 4).save(Path(os.environ['WHERE']))"
    )
    folder = write_report(tmp_path / "a")
    (check,) = timed([python(code, WHERE=str(folder))], tmp_path, REFERENCE)
    assert check.note.endswith("a note; 3 of 7 results reused")


def test_what_the_calling_make_hands_down_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "-- PROFILE=full")
    monkeypatch.setenv("PROFILE", "full")
    code = "import os; raise SystemExit('PROFILE' in os.environ or 'MAKEFLAGS' in os.environ)"
    assert timed([python(code)], tmp_path, REFERENCE)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_steps_are_targets_of_the_makefile_and_keep_apart(tmp_path):
    planned = timings.steps(tmp_path)
    for step in planned:
        dry = subprocess.run([*step.command, "--dry-run"], capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
    report, again, site, tests = planned
    assert str(tmp_path) in " ".join(site.command)
    assert report.command == again.command
    for value in (*report.environment.values(), *again.environment.values()):
        assert value.startswith(str(tmp_path))
    assert not tests.environment
    assert [step.minutes for step in planned] == [8, 2, 8, 10]


def test_without_make_there_is_nothing_to_time(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InvalidInputError, match="needs make"):
        timings.measure()


# --- shown ---


def times(*checks):
    return Results(origin("default"), (), checks)


def test_times_stand_in_the_overview_with_their_machine(tmp_path):
    checks = timed(
        [python("", "make report"), python("", "again", None)], tmp_path / "none", REFERENCE
    )
    times(*checks).save(tmp_path / timings.FILE)
    html, text = pages(tmp_path)
    for page in (html, text):
        assert "How long it takes" in page
        assert "make timings" in page
        assert "2 cores" in page
    assert "≤ 1 min | ✅ |\n" in text
    assert "| – |  |\n" in text
    assert '<td class="num">–</td>' in html


def test_the_full_report_gives_its_own_time(tmp_path):
    write_report(tmp_path / "a")
    write_report(tmp_path / "a-default", results(profile="default"), ok(profile="default"))
    text = pages(tmp_path)[1]
    assert (
        "| make report PROFILE=full<br><sub>a 1 min 1 s</sub> | measured | 1.02 min | ≤ 120 min |"
        in text
    )


def test_a_full_run_that_reused_results_says_so(tmp_path):
    Reuse(100, 5).save(write_report(tmp_path / "a"))
    html, text = pages(tmp_path)
    assert "not a whole run: 100 of 105 results reused" in text
    assert "<span>100 of 105 results reused</span>" in html
    assert of_full({}, []) == ()


@pytest.mark.parametrize("name", [timings.FILE, "a/reuse.json"])
def test_damaged_files_are_shown_as_such(tmp_path, name):
    write_report(tmp_path / "a")
    (tmp_path / name).write_text("{")
    assert f"{name.split('/')[-1]} is" in pages(tmp_path)[0]
    assert gallery.collect(tmp_path)


def test_the_cache_keeps_what_it_reused_with_the_report(tmp_path, monkeypatch):
    monkeypatch.setenv("QUTILS_REPORT_DIR", str(tmp_path))
    kept = Cache(tmp_path / "cache", refresh=False)
    for _ in range(2):
        kept.get_or_compute({"a": 1}, lambda: 2)
    kept.announce()
    assert str(Reuse(1, 1)) == "1 of 2 results reused"
    assert load_reuse(tmp_path) == kept.reuse
    assert (kept.reuse.reused, kept.reuse.computed) == (1, 1)
    assert load_reuse(tmp_path / "cache") is None
