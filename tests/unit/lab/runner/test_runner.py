"""Real runs, each in its own subprocess: started as usual, then forked, which is quicker."""

from __future__ import annotations

import json

import pytest

from qutils.lab.results import results
from qutils.lab.runner.runner import run_notebook
from qutils.lab.runner.status import load_status
from tests.unit.lab.runner.toy import MEASURE, snapshot, write_notebook

pytestmark = pytest.mark.notebook


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A notebook that fails when rate is zero, and its report in the profile full."""
    folder = tmp_path_factory.mktemp("run")
    notebook = write_notebook(folder / "nb" / "toy {a}.ipynb", "1 / rate", MEASURE)
    target = folder / "reports" / "toy"
    run = run_notebook(notebook, target, {"profile": "full", "bits": [3]})
    assert run.exit_code == 0, run.message
    return notebook, target


def test_report_is_published_whole(good):
    _, target = good
    assert sorted(p.name for p in target.iterdir()) == [
        "figures",
        "report.html",
        "results.json",
        "status.json",
    ]
    assert [path.name for path in target.parent.iterdir()] == ["toy"]
    made = results.load(target / "results.json")
    assert [row.weight_bits for row in made.rows] == [3, 3]
    assert made.provenance.parameters == {"profile": "full", "bits": [3], "rate": 0.5}
    assert made.provenance.seconds > 0.5
    assert load_status(target).outcome == "ok"
    page = (target / "report.html").read_text()
    assert 'alt="Accuracy against bits."' in page
    assert "Title of toy" in page


def listed(folder):
    """Names that the status says were published, each of which has to be there."""
    names = load_status(folder).files
    assert set(names) <= {path.name for path in folder.iterdir()}
    return set(names)


def test_failure_leaves_the_report_and_success_clears_the_failure(good, beside):
    notebook, target = good
    assert "report.html" in listed(target)
    before = snapshot(target)
    run = run_notebook(notebook, target, {"profile": "full", "rate": 0.0}, beside=beside)
    assert run.exit_code == 1
    assert run.shown == target / "failed.html"
    assert run.message == "ZeroDivisionError: float division by zero"
    after = snapshot(target)
    assert {n: after[n] for n in before if n != "status.json"} == {
        n: before[n] for n in before if n != "status.json"
    }
    assert set(after) - set(before) == {"failed.html", "failed.ipynb"}
    assert "ZeroDivisionError" in (target / "failed.html").read_text()
    assert "papermill-error-cell" in (target / "failed.ipynb").read_text()
    assert load_status(target).outcome == "failed"
    assert {"report.html", "failed.html", "failed.ipynb"} <= listed(target)

    run = run_notebook(notebook, target, {"profile": "full", "rate": 0.25}, beside=beside)
    assert run.exit_code == 0
    assert "failed.html" not in listed(target)
    assert not (target / "failed.html").exists()
    changes = json.loads((target / "changes.json").read_text())
    assert changes["removed"] == ["toy ptq W3A8 minmax per_channel simulated torch"]


def test_damaged_status_is_no_dead_end(tmp_path, beside):
    """Neither for a run that fails nor for one that succeeds."""
    notebook = write_notebook(tmp_path / "a.ipynb", "1 / rate")
    target = tmp_path / "out"
    for rate, outcome in ((0.0, "failed"), (1.0, "ok")):
        target.mkdir(exist_ok=True)
        (target / "status.json").write_text("{")
        run_notebook(notebook, target, {"rate": rate}, beside=beside)
        assert load_status(target).outcome == outcome


def test_invalid_results_are_a_failure(tmp_path, beside):
    cell = "from qutils.lab.results.publish import report_dir\n"
    cell += "(report_dir() / 'results.json').write_text('{')"
    notebook = write_notebook(tmp_path / "a.ipynb", cell)
    run = run_notebook(notebook, tmp_path / "out", beside=beside)
    assert run.exit_code == 1
    assert "not JSON" in run.message
    assert not (tmp_path / "out" / "results.json").exists()


def test_dead_kernel_is_tried_twice(tmp_path, capsys):
    cell = (
        "from pathlib import Path\nimport os, signal\n"
        f"p = Path({str(tmp_path / 'tries')!r})\n"
        "p.write_text((p.read_text() if p.exists() else '') + 'x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = run_notebook(write_notebook(tmp_path / "a.ipynb", cell), tmp_path / "out")
    assert run.exit_code == 138
    assert (tmp_path / "tries").read_text() == "xx"
    assert "the kernel died" in (tmp_path / "out" / "failed.html").read_text()
    assert "trying once more" in capsys.readouterr().err
