import pytest

from qutils.errors import InvalidInputError
from qutils.experiments import reports
from qutils.experiments.plan import REPORTS
from tests.unit.experiments.toy import MEASURE, write_notebook


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(REPORTS, str(tmp_path / "reports"))
    return tmp_path / "notebooks"


@pytest.mark.notebook
def test_one_failure_does_not_keep_the_others_from_running(folder, tmp_path):
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
