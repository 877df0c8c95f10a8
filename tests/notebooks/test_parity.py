"""The parity notebook run for real, in its smallest profile."""

import pytest

from qutils.experiments import results
from qutils.experiments.runner import run_notebook
from qutils.files import ROOT

NOTEBOOK = ROOT / "notebooks" / "reports" / "parity.ipynb"


@pytest.mark.notebook
@pytest.mark.slow
def test_it_publishes_page_results_checks_and_figure(tmp_path, beside):
    folder = tmp_path / "parity"
    run = run_notebook(
        NOTEBOOK, folder, {"profile": "smoke", "runtimes": ["onnxruntime"]}, beside=beside
    )
    assert run.exit_code == 0, run.message
    found = results.load(folder / "results.json")
    assert [(row.execution, row.runtime) for row in found.rows] == [
        ("simulated", "torch"),
        ("integer", "onnxruntime"),
    ]
    assert found.rows[1].metrics["output_equal_percent"] == 100
    assert found.rows[1].metrics["layers_departing"] == 0
    assert (folder / "figures" / "parity.png").is_file()
    assert "all 15 layers equal in every integer" in (folder / "report.html").read_text()
