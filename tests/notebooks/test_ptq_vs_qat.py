"""The report notebook run for real, small: results, figures and page, and reuse the second time."""

import re

import pytest

from qutils.errors import InvalidInputError
from qutils.files import ROOT
from qutils.lab.results import results
from qutils.lab.results.reuse import load_reuse
from qutils.lab.runner.parameters import read_notebook
from qutils.lab.runner.runner import run_notebook

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
def report(tmp_path_factory, beside):
    patch = pytest.MonkeyPatch()
    patch.setenv("QUTILS_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path_factory.mktemp("reports") / "small"
    run = run_notebook(NOTEBOOK, folder, SMALL, beside=beside)
    yield run, folder
    patch.undo()


@pytest.mark.notebook
def test_it_publishes_page_results_and_figures(report):
    run, folder = report
    assert run.exit_code == 0, run.message
    assert (folder / "report.html").is_file()
    found = results.load(folder / "results.json")
    assert {row.execution for row in found.rows} == {"float", "simulated", "integer"}
    assert {"accuracy_vs_bits.png", "accuracy_vs_size.png", "accuracy_vs_latency.png"} <= {
        path.name for path in (folder / "figures").iterdir()
    }


@pytest.mark.notebook
def test_the_page_says_the_parameters_and_folds_the_code(report):
    _, folder = report
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<details" in page
    assert "weight_bits" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.notebook
def test_the_page_tells_pairs_headlines_and_that_a_trial_finds_nothing(report):
    _, folder = report
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Bits that run: W8A8." in page
    assert "Only one observer was asked for" in page
    assert "resnet8: INT8 file of FP32 file" in page
    assert "its accuracies say nothing about the methods" in page


@pytest.mark.notebook
@pytest.mark.nightly(reason="tests/unit/lab/studies/study/test_sentences.py has the sentences")
def test_other_bits_say_why_nothing_is_compared(report, tmp_path, beside):
    odd = {"weight_bits": [3], "activation_bits": [4, 6], "observers": ["mse", "minmax"],
           "granularities": ["per_channel", "per_tensor"]}  # fmt: skip
    run = run_notebook(NOTEBOOK, tmp_path / "odd", SMALL | odd, beside=beside)
    assert run.exit_code == 0, run.message
    page = run.shown.read_text(encoding="utf-8")
    assert "Bits that run: W3A6." in page
    assert "A4 is in no pair: weights of 4 bits were not asked for." in page
    assert page.count("no such pair was run (W3A6)") == 2
    assert "Minmax was not" not in page


def test_prose_claims_nothing_of_settings_that_may_not_have_run():
    cells = read_notebook(NOTEBOOK).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert not re.findall(r"[Aa]t \d bits|W[2-7]A\d|front page|seeds? to the best", prose)


@pytest.mark.notebook
def test_a_second_run_says_what_it_reused(report, capfd, beside):
    _, folder = report
    assert run_notebook(NOTEBOOK, folder, SMALL, beside=beside).exit_code == 0
    assert "2 of 2 results reused" in capfd.readouterr().err
    assert "2 of 2 results reused" in (folder / "report.html").read_text(encoding="utf-8")
    reuse = load_reuse(folder)
    assert (reuse.reused, reuse.computed, len(reuse.origins)) == (2, 0, 1)
    assert results.load(folder / "results.json").reuse == reuse


@pytest.mark.notebook
def test_a_misspelt_observer_is_refused_and_the_report_stays(report):
    _, folder = report
    before = (folder / "results.json").read_bytes()
    with pytest.raises(InvalidInputError, match="did you mean 'minmax'"):
        run_notebook(NOTEBOOK, folder, {**SMALL, "observers": ["minmx"]})
    assert (folder / "results.json").read_bytes() == before
