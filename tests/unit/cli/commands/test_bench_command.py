from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from qutils import files
from qutils.cli import main
from qutils.lab.runner import runner
from qutils.lab.runner.coercion import Text
from qutils.lab.runner.plan import REPORTS
from qutils.lab.runner.runner import Run
from tests.unit.lab.runner.toy import write_notebook


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose benchmark notebook is a toy."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setenv(REPORTS, str(tmp_path / "reports"))
    (tmp_path / "notebooks/reports").mkdir(parents=True)
    return tmp_path


def invoke(*words: str):
    return CliRunner().invoke(main, ["bench", *words])


@pytest.mark.parametrize(("code", "message"), [(0, ""), (1, "E: x"), (138, "kernel died")])
def test_outcome_is_told_and_returned(checkout, monkeypatch, code, message):
    seen = {}

    def run(notebook, destination, parameters, *, refresh):
        seen.update(notebook=notebook, parameters=parameters, refresh=refresh)
        return Run(code, Path("reports/bench/report.html"), message)

    monkeypatch.setattr(runner, "run_notebook", run)
    result = invoke("--profile", "full", "-p", "threads", "1", "--force")
    assert result.exit_code == code
    assert seen == {
        "notebook": checkout / "notebooks/reports/bench.ipynb",
        "parameters": {"profile": Text("full"), "threads": Text("1")},
        "refresh": True,
    }
    assert "reports/bench/report.html" in result.output
    assert (f"bench failed: {message}" in result.output) == bool(code)
    assert str(checkout / "reports/index.html") in result.output
    assert (checkout / "reports/README.md").is_file()


def test_unknown_parameter_leaves_everything(checkout):
    write_notebook(checkout / "notebooks/reports/bench.ipynb")
    result = invoke("-p", "bit_widht", "4")
    assert result.exit_code == 2
    assert "did you mean 'bits'?" in result.output
    assert not (checkout / "reports/index.html").exists()


def test_missing_notebook_is_named(checkout):
    result = invoke()
    assert result.exit_code == 2
    assert "bench.ipynb" in result.output


@pytest.mark.notebook
def test_notebook_runs_and_overview_lists_it(checkout, forking):
    write_notebook(checkout / "notebooks/reports/bench.ipynb", "print('measured')")
    result = invoke("--profile", "smoke")
    assert result.exit_code == 0, result.output
    assert "measured" in (checkout / "reports/bench-smoke/report.html").read_text()
    assert "bench-smoke" in (checkout / "reports/index.html").read_text()
