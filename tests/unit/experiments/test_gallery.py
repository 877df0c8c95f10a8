from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from qutils.experiments import compare, gallery
from qutils.experiments.results import Check
from tests.unit.experiments.toy import ok, results, row, snapshot

CHECKS = (
    Check("FP32 | <b>", 92.6, "%", 92.5, ">=", "make report", "a *note*"),
    Check("ratio", 1.2, "", 1.05, "<=", "make bench"),
)


def write_report(folder: Path, measured=None, status=None) -> Path:
    folder.mkdir(parents=True)
    (measured or results(checks=CHECKS)).save(folder / "results.json")
    (status or ok()).save(folder)
    (folder / "report.html").write_text("")
    (folder / "figures").mkdir()
    Figure(figsize=(1, 1)).savefig(
        folder / "figures" / "f.png", metadata={"Description": "A <line>"}
    )
    return folder


def pages(folder: Path) -> tuple[str, str]:
    gallery.build(folder)
    return (folder / "index.html").read_text(), (folder / "README.md").read_text()


def test_report_is_shown_with_all_that_matters(tmp_path):
    write_report(tmp_path / "a")
    html, text = pages(tmp_path)
    for page in (html, text):
        for part in ("A report", "full", "2026-01-02 03:04 UTC", "1 min 1 s", "0123456789",
                     "a/report.html", "a/figures/f.png", "1 of 2 reach", "92.6 %", "make bench",
                     "A &lt;line&gt;"):  # fmt: skip
            assert part in page
    assert "✓ met" in html
    assert "✗ missed" in html
    assert (
        "| FP32 &#124; &#60;b&#62;<br><sub>a &#42;note&#42;</sub> | 92.6 % | ≥ 92.5 % | ✅ |"
        in text
    )
    assert "<code>make bench</code>" in text


def test_same_reports_give_the_same_bytes(tmp_path):
    write_report(tmp_path / "b")
    write_report(tmp_path / "a")
    first = pages(tmp_path)
    assert pages(tmp_path) == first


def test_full_comes_before_other_profiles(tmp_path):
    write_report(tmp_path / "a-default", results(profile="default"), ok(profile="default"))
    write_report(tmp_path / "a")
    assert [report.name for report in gallery.collect(tmp_path)] == ["a", "a-default"]


def test_default_is_compared_with_full(tmp_path):
    write_report(tmp_path / "a")
    write_report(tmp_path / "a-default", results(row(top1=80.0), profile="default"),
                 ok(profile="default"))  # fmt: skip
    full, default = gallery.collect(tmp_path)
    assert full.full is None
    assert default.full.beyond[0].delta == pytest.approx(-12.5)
    html, text = pages(tmp_path)
    assert "Against the full results of" in html
    assert "**Against the full results of 2026-01-02 03:04 UTC:** 1 of 1" in text


def test_changes_since_the_last_run_are_shown(tmp_path):
    folder = write_report(tmp_path / "a")
    compare.compare(results(row(top1=80.0)), results()).save(folder / "changes.json")
    html, text = pages(tmp_path)
    assert "<details open><summary>Since the run of" in html
    assert "+12.5" in text


def test_failure_is_shown_above_the_earlier_results(tmp_path):
    failed = ok(outcome="failed", message="ValueError: <x>", exit_code=1)
    folder = write_report(tmp_path / "a", status=failed)
    (folder / "failed.html").write_text("")
    html, text = pages(tmp_path)
    for page in (html, text):
        assert "a/failed.html" in page
        assert "Below are the results of" in page
    assert "ValueError: &lt;x&gt;" in html
    assert "❌ failed" in text


def test_damaged_results_are_shown_as_a_failure(tmp_path):
    folder = write_report(tmp_path / "a")
    (folder / "results.json").write_text("{")
    (report,) = gallery.collect(tmp_path)
    assert report.status.outcome == "failed"
    assert "not JSON" in pages(tmp_path)[0]


def test_no_reports_are_said_so(tmp_path):
    assert all("There is no report yet" in page for page in pages(tmp_path))


def test_nothing_but_the_two_pages_is_written(tmp_path):
    write_report(tmp_path / "a")
    before = snapshot(tmp_path)
    pages(tmp_path)
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"index.html", "README.md"}
