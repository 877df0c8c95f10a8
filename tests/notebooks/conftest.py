"""Reports of notebooks in their smoke profile: those that ``.ci/run`` has made, else made here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qutils.files import ROOT
from qutils.lab.results import results
from qutils.lab.results.results import Results
from qutils.lab.runner.runner import Beside, run_notebook

#: Environment variable: a folder with the report of each notebook, ``smoke-bench`` and so on.
MADE = "QUTILS_SMOKE_REPORTS"


@pytest.fixture
def reported(tmp_path: Path, beside: Beside) -> Callable[..., tuple[Path, Results]]:
    """Return the report of a notebook; given parameters hold only where it is made here."""

    def report(name: str, **parameters: object) -> tuple[Path, Results]:
        folder = Path(os.environ.get(MADE, tmp_path)) / f"smoke-{name}"
        if not (folder / "report.html").is_file():
            folder = tmp_path / name
            notebook = ROOT / "notebooks" / "reports" / f"{name}.ipynb"
            run = run_notebook(notebook, folder, {"profile": "smoke", **parameters}, beside=beside)
            assert run.exit_code == 0, run.message
        found = results.load(folder / "results.json")
        assert found.provenance.profile == "smoke"
        return folder, found

    return report
