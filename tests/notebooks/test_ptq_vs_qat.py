"""The report notebook run for real, small: results, figures and page, and reuse the second time."""

import pytest

from qutils.experiments import results
from qutils.experiments.runner import run_notebook
from qutils.files import ROOT

NOTEBOOK = ROOT / "notebooks" / "reports" / "ptq_vs_qat.ipynb"
SMALL = {
    "profile": "smoke",
    "models": ["resnet8"],
    "methods": ["ptq"],
    "weight_bits": [8],
    "activation_bits": [8],
    "observers": ["minmax"],
    "granularities": ["per_channel"],
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("QUTILS_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path_factory.mktemp("reports") / "small"
    run = run_notebook(NOTEBOOK, folder, SMALL)
    yield run, folder
    patch.undo()


def test_it_publishes_page_results_and_figures(report):
    run, folder = report
    assert run.exit_code == 0, run.message
    assert (folder / "report.html").is_file()
    found = results.load(folder / "results.json")
    assert {row.execution for row in found.rows} == {"float", "simulated", "integer"}
    assert {"accuracy_vs_bits.png", "accuracy_vs_size.png", "accuracy_vs_latency.png"} <= {
        path.name for path in (folder / "figures").iterdir()
    }


def test_the_page_says_the_parameters_and_folds_the_code(report):
    _, folder = report
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<details" in page
    assert "weight_bits" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_says_what_it_reused(report, capfd):
    _, folder = report
    assert run_notebook(NOTEBOOK, folder, SMALL).exit_code == 0
    assert "2 of 2 results reused" in capfd.readouterr().err


def test_a_misspelt_observer_is_refused_and_the_report_stays(report):
    _, folder = report
    before = (folder / "results.json").read_bytes()
    run = run_notebook(NOTEBOOK, folder, {**SMALL, "observers": ["minmx"]})
    assert run.exit_code == 1
    assert "did you mean 'minmax'" in run.message
    assert (folder / "results.json").read_bytes() == before
