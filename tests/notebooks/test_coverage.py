"""The coverage notebook run for real, in its smallest profile."""

import pytest

from qutils.lab.studies import coverage


@pytest.mark.notebook
@pytest.mark.slow
def test_it_publishes_page_results_checks_and_figure(reported):
    folder, found = reported("coverage")
    chosen = coverage.choose(**found.provenance.parameters)
    ours = [row for row in found.rows if row.method == "ptq"]
    assert [row.model for row in ours] == list(chosen.architectures)
    assert all(row.metrics["works"] == 1 for row in ours)
    assert all(row.metrics["sqnr_db"] >= 20 for row in ours)
    assert (folder / "figures" / "coverage.png").is_file()
    page = (folder / "report.html").read_text()
    assert "Nothing was refused." in page
    assert f"{len(ours)} of {len(ours)} networks reach 20 dB" in page
