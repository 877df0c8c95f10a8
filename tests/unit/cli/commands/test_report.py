from pathlib import Path

from click.testing import CliRunner

from qutils.cli import main
from qutils.cli.commands import report
from qutils.lab.results import reports
from qutils.lab.runner.coercion import Text
from qutils.lab.runner.plan import REPORTS
from qutils.lab.runner.runner import Run


def test_overview_can_be_rebuilt_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(REPORTS, str(tmp_path))
    result = CliRunner().invoke(main, ["report", "--gallery-only"])
    assert result.exit_code == 0
    assert str(tmp_path / "index.html") in result.output
    assert (tmp_path / "README.md").is_file()


def test_outcome_is_told_and_returned(monkeypatch):
    seen = {}

    def make(values, refresh):
        seen.update(values, refresh=refresh)
        runs = {"a": Run(0, Path("a/report.html")), "b": Run(1, Path("b/failed.html"), "E: x")}
        return reports.Overview(runs, Path("reports/index.html"))

    monkeypatch.setattr(reports, "make_reports", make)
    result = CliRunner().invoke(
        report.command, ["--profile", "full", "-p", "bits", "[2]", "--force"]
    )
    assert result.exit_code == 1
    assert seen == {"profile": Text("full"), "bits": Text("[2]"), "refresh": True}
    for part in (
        "a: ok",
        "b failed: E: x",
        "a/report.html",
        "b/failed.html",
        "reports/index.html",
    ):
        assert part in result.output
