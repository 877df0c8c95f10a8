"""The headline table of the README is written from the full results, and from nothing else."""

import pytest

from qutils.files import ROOT
from qutils.lab.results import provenance, readme
from qutils.lab.results.results import Results, Row


def row(method, bits, top1, seed=None, execution="float", granularity=None, observer=None):
    return Row(
        model="resnet8", dataset="fashion_mnist", method=method, weight_bits=bits,
        activation_bits=bits, observer=observer, granularity=granularity, seed=seed,
        execution=execution, runtime="torch", top1=top1, top1_n=10_000,
    )  # fmt: skip


def results(profile):
    quantized = {"execution": "simulated", "granularity": "per_channel", "observer": "mse"}
    rows = (
        row("fp32", 32, 93.0),
        row("qat", 4, 92.0, 0, **quantized),
        row("qat", 4, 92.5, 1, **quantized),
        row("ptq", 4, 80.0, 0, **{**quantized, "observer": "entropy"}),
        row("ptq", 4, 90.0, 0, **quantized),
        row("ptq", 4, 91.0, 1, **quantized),
    )
    return Results(provenance.collect({"profile": profile}), rows)


def test_cells_are_means_with_the_range_over_seeds():
    table = readme.headline(results("full"), "make it")
    assert "| FP32 | 93.00 | float |" in table
    assert "| W4A4 QAT | 92.25 (92.00 to 92.50) | simulated |" in table
    assert "`make it`" in table


def test_of_several_observers_the_one_with_seeds_is_shown():
    table = readme.headline(results("full"), "make it")
    assert "| W4A4 PTQ | 90.50 (90.00 to 91.00) | simulated |" in table


def test_lines_without_results_are_left_out():
    assert "W2A8" not in readme.headline(results("full"), "make it")


@pytest.mark.parametrize(("profile", "written"), [("full", True), ("default", False)])
def test_only_full_results_are_written(tmp_path, profile, written):
    file, page = tmp_path / "results.json", tmp_path / "README.md"
    results(profile).save(file)
    page.write_text(f"before\n{readme.BEGIN}\n{readme.END}\nafter\n")
    assert readme.update(page, file) is written
    text = page.read_text()
    assert ("W4A4 QAT" in text) is written
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_the_projects_readme_shows_the_committed_results():
    file = ROOT / "reports" / "ptq_vs_qat" / "results.json"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    from qutils.lab.results import results as stored

    assert readme.headline(stored.load(file), "make report PROFILE=full") in text
