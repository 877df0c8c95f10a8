"""The parity notebook run for real, in its smallest profile."""

import pytest

from qutils.lab.studies import parity


@pytest.mark.notebook
@pytest.mark.slow
def test_it_publishes_page_results_checks_and_figure(reported):
    folder, found = reported("parity", runtimes=["onnxruntime"])
    chosen = parity.choose(**found.provenance.parameters)
    assert [(row.execution, row.runtime) for row in found.rows] == [
        ("simulated", "torch"),
        *(("integer", name) for name in chosen.runtimes),
    ]
    (exact,) = (row for row in found.rows if row.runtime == "onnxruntime")
    assert exact.metrics["output_equal_percent"] == 100
    assert exact.metrics["layers_departing"] == 0
    assert (folder / "figures" / "parity.png").is_file()
    assert "all 15 layers equal in every integer" in (folder / "report.html").read_text()
