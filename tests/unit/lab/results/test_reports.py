import nbformat
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.results import reports
from qutils.lab.results.results import Check
from qutils.lab.results.reuse import Reuse
from qutils.lab.runner.plan import REPORTS
from qutils.lab.runner.runner import Run
from tests.unit.lab.runner.toy import MEASURE, ok, results, write_notebook


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(REPORTS, str(tmp_path / "reports"))
    return tmp_path / "notebooks"


@pytest.mark.notebook
def test_one_failure_does_not_keep_the_others_from_running(folder, tmp_path, forking):
    write_notebook(folder / "a.ipynb", "raise ValueError('no')", parameters="x = 1")
    write_notebook(folder / "b.ipynb", MEASURE)
    overview = reports.make_reports({"profile": "smoke"}, folder=folder)
    assert {name: run.exit_code for name, run in overview.runs.items()} == {"a": 1, "b": 0}
    assert overview.exit_code == 1
    text = (tmp_path / "reports" / "README.md").read_text()
    assert "ValueError: no" in text
    assert "b-smoke/report.html" in text


@pytest.mark.parametrize("given", [{"profile": "fast"}, {"no_such": 1}])
def test_bad_parameter_is_refused_before_anything_runs(folder, tmp_path, given):
    write_notebook(folder / "a.ipynb", parameters="x = 1")
    write_notebook(folder / "b.ipynb", MEASURE)
    with pytest.raises(InvalidInputError, match=next(iter(given))):
        reports.make_reports(given, folder=folder)
    assert not list((tmp_path / "reports").glob("*/*"))


def test_no_notebooks_are_refused(folder):
    with pytest.raises(InvalidInputError, match="no report notebooks"):
        reports.make_reports({}, folder=folder)


def test_a_finished_run_tells_time_reuse_and_targets(tmp_path):
    run = Run(0, tmp_path / "report.html")
    assert reports.outcome("a", run) == f"a: ok\n  {run.shown}"
    ok().save(tmp_path)
    Reuse(3, 4).save(tmp_path)
    checks = (
        Check("a", 1.0, "%", 2.0, "<=", "make report"),
        Check("b", 3.0, "%", 2.0, "<=", "make report"),
        Check("c", 3.0, "%", None, None, "make report"),
    )
    results(checks=checks).save(tmp_path / "results.json")
    told = "a: ok in 1 min 1 s, 3 of 7 results reused, 1 of 2 targets reached"
    assert reports.outcome("a", run).splitlines()[0] == told
    (tmp_path / "reuse.json").unlink()
    assert "all measured anew, 1 of 2 targets reached" in reports.outcome("a", run)
    failed = Run(1, tmp_path / "failed.html", "E: x")
    assert reports.outcome("a", failed) == f"a failed: E: x\n  {failed.shown}"


def test_a_report_whose_packages_are_missing_is_left_as_it_is(folder, tmp_path):
    write_notebook(folder / "a.ipynb", "raise ValueError('no')")
    notebook = nbformat.read(folder / "a.ipynb", as_version=4)
    notebook.metadata["qutils"] = {"needs": ["no_such_package"], "install": "make such"}
    nbformat.write(notebook, folder / "a.ipynb")
    overview = reports.make_reports({"profile": "smoke"}, folder=folder)
    assert overview.runs == {}
    assert overview.exit_code == 0
    assert overview.skipped == {"a": "no_such_package not installed (make such)"}
