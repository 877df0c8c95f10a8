"""``qutils timings`` against a checkout whose targets take no time."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

from qutils.cli import main
from qutils.evaluate.bench.reference import Reference
from qutils.lab.results import results
from qutils.lab.runner import timings
from qutils.lab.runner.plan import REPORTS

MAKEFILE = """
.venv/.base .venv/.dev: ; @echo $@ >> log
report: ; @echo $@ $(if $(QUTILS_CACHE),apart) >> log
site: ; @echo $@ $(PROFILE) >> log
test: ; @echo $@ $(if $(QUTILS_CACHE),apart) >> log
fail: ; @false
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "Makefile").write_text(MAKEFILE)
    monkeypatch.setattr(timings, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(timings, "reference_workload", lambda: Reference(8.0, 2.0))
    monkeypatch.setenv(REPORTS, str(tmp_path / "reports"))
    monkeypatch.delenv("QUTILS_CACHE", raising=False)
    return tmp_path


def test_everything_is_run_once_in_order_and_shown(checkout):
    result = CliRunner().invoke(main, ["timings"])
    assert result.exit_code == 0, result.output
    log = (checkout / "checkout" / "log").read_text().split("\n")
    assert log == [
        ".venv/.base",
        ".venv/.dev",
        "report apart",
        "report apart",
        "site smoke",
        "test",
        "",
    ]
    found = results.load(checkout / "reports" / timings.FILE)
    assert [check.passed for check in found.checks] == [None, True, True, True, True]
    assert found.checks[0].value == 10.0
    assert all("times the reference workload" in check.note for check in found.checks[1:])
    assert found.provenance.cpu
    assert found.provenance.commit is not None or found.provenance.dirty is None
    assert "make test: 0" in result.output
    assert "How long it takes" in (checkout / "reports" / "README.md").read_text()


def test_a_failing_command_writes_nothing(checkout):
    makefile = checkout / "checkout" / "Makefile"
    makefile.write_text(MAKEFILE.replace("test: ; @echo", "test: fail ; @echo"))
    result = CliRunner().invoke(main, ["timings"])
    assert result.exit_code == 1
    assert "test failed (exit code 2): nothing was written" in result.output
    assert not list((checkout / "reports").iterdir())
