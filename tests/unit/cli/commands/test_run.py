from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from click.testing import CliRunner

from qutils.cli import main
from qutils.lab.runner.plan import REPORTS
from tests.unit.lab.runner.toy import results, snapshot, write_notebook

ROOT = Path(__file__).parents[3]


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setenv(REPORTS, str(tmp_path / "reports"))
    folder = tmp_path / "reports" / "a-default"
    folder.mkdir(parents=True)
    results(profile="default").save(folder / "results.json")
    return tmp_path / "reports"


def invoke(*words: object):
    return CliRunner().invoke(main, ["run", *map(str, words)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "bit_widht", "4"], "did you mean 'bits'?"),
        (["-p", "bits", "4"], "parameter 'bits' is list[int], got '4'"),
        (["-p", "profile", "ful"], "did you mean 'full'? Choose from smoke, default, full"),
        (["-r", "bits", "[2]"], "write a list"),
        (["-p", "bits", "[9]"], "9 is not allowed, choose 2..8"),
        (["-y", "[1]"], "must map names to values"),
        (["-y", "{a: "], "not valid YAML"),
        (["-f", "no_such.yaml"], "no_such.yaml"),
        (["-p", "bits"], "requires 2 arguments"),
    ],
)
def test_usage_errors_leave_everything(reports, tmp_path, options, message):
    before = snapshot(reports)
    result = invoke(write_notebook(tmp_path / "a.ipynb"), *options)
    assert result.exit_code == 2
    assert message in result.output
    assert snapshot(reports) == before


def test_place_that_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke(write_notebook(tmp_path / "a.ipynb"), tmp_path / "file" / "out" / "report")
    assert result.exit_code == 2
    assert "cannot write into" in result.output


@pytest.mark.notebook
def test_notebook_alone_gets_every_kind_of_value(tmp_path):
    """Runs in an empty environment, as from a cron job."""
    parameters = "a: int = 1\nb: list[int] = [1]\nc: str = ''\nd: float = 0.0\ne: str | None = 'x'"
    notebook = write_notebook(tmp_path / "a.ipynb", "print([a, b, c, d, e])", parameters=parameters)
    (tmp_path / "values.yaml").write_text("a: 5\nb: [9]\n")
    command = [sys.executable, "-m", "qutils.cli", "run", notebook, tmp_path / "out.ipynb"]
    command += ["-f", tmp_path / "values.yaml", "-y", "{b: [2, 4], e: null}"]
    command += ["-p", "d", "nan", "-r", "c", "007"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out.ipynb")
    assert "Executing: 100%" in done.stderr
    assert "TCP without encryption" not in done.stderr
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "[5, [2, 4], '007', nan, None]\n"


@pytest.mark.notebook
def test_failing_notebook_exits_with_one(reports, tmp_path, forking):
    before = snapshot(reports)
    result = invoke(write_notebook(tmp_path / "a.ipynb", "1 / 0"))
    assert result.exit_code == 1
    assert "ZeroDivisionError: division by zero" in result.output
    after = snapshot(reports)
    assert after["a-default/results.json"] == before["a-default/results.json"]
    assert json.loads(after["a-default/status.json"])["outcome"] == "failed"
    assert b"ZeroDivisionError" in after["a-default/failed.html"]


@pytest.mark.notebook
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_interrupted_run_leaves_everything(reports, tmp_path, how):
    marker = tmp_path / "kernel.pid"
    cell = f"import os, time\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)"
    notebook = write_notebook(tmp_path / "a.ipynb", cell)
    before = snapshot(reports)
    process = subprocess.Popen(
        [sys.executable, "-m", "qutils.cli", "run", notebook],
        cwd=ROOT,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background has SIGINT ignored, and hands that down
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: marker.exists() and marker.read_text(), 60)
    kernel = int(marker.read_text())
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    wait_until(lambda: not running(kernel), 10)
    assert snapshot(reports) == before
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert errors.endswith("Interrupted. What was there before is intact.\n")
        assert "Traceback" not in errors
        assert sorted(path.name for path in reports.iterdir()) == ["a-default"]


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
