"""The benchmark notebook run for real, in its smallest profile."""

import pytest

from qutils.experiments import results
from qutils.experiments.runner import run_notebook
from qutils.files import ROOT

NOTEBOOK = ROOT / "notebooks" / "reports" / "bench.ipynb"


@pytest.mark.notebook
@pytest.mark.slow
def test_it_publishes_page_results_checks_and_figures(tmp_path, beside):
    folder = tmp_path / "bench"
    run = run_notebook(NOTEBOOK, folder, {"profile": "smoke", "batches": [2]}, beside=beside)
    assert run.exit_code == 0, run.message
    assert (folder / "report.html").is_file()
    found = results.load(folder / "results.json")
    assert {row.execution for row in found.rows} == {"float", "simulated", "integer"}
    names = {check.name.partition(": ")[2] for check in found.checks}
    assert names == {
        "INT8 weights, bytes of FP32's",
        "INT8 file, bytes of the FP32 file",
        "INT8 latency of quantize_static's, batch 2",
        "calibration memory, 128 pictures of 64",
        "QAT step of FP32 step",
    }
    assert {check.name: check.passed for check in found.checks if "bytes" in check.name} == {
        "resnet8: INT8 weights, bytes of FP32's": True,
        "resnet8: INT8 file, bytes of the FP32 file": True,
    }
    assert {
        f"{name}.png" for name in ("latency", "size", "calibration_memory", "training_step")
    } <= {path.name for path in (folder / "figures").iterdir()}
