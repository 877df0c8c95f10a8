from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from qutils.lab.results import compare, gallery
from qutils.lab.results.results import Check
from qutils.lab.results.reuse import Origin, Reuse
from tests.unit.lab.runner.toy import ok, results, row, snapshot

CHECKS = (
    Check("FP32 | <b>", 92.6, "%", 92.5, ">=", "make report", "a *note*", "float"),
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
        "| FP32 &#124; &#60;b&#62;<br><sub>a &#42;note&#42;</sub> | float | 92.6 % | ≥ 92.5 % | ✅"
        in text
    )
    assert "| ratio | – | 1.2" in text  # results of an earlier version do not tell
    assert "<code>make bench</code>" in text
    assert "<td>float</td>" in html
    assert "Measured" not in html + text


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
    assert "<summary>Against the full results of 2026-01-02 03:04 UTC: 1 of 1" in text


def test_changes_since_the_last_run_are_shown(tmp_path):
    folder = write_report(tmp_path / "a")
    compare.compare(results(row(top1=80.0)), results()).save(folder / "changes.json")
    html, text = pages(tmp_path)
    assert "<details><summary>Since the run of" in html
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


@pytest.mark.parametrize("damage", ["{", "[]", "{}", ""])
@pytest.mark.parametrize("measured", [True, False])
def test_damaged_status_is_shown_as_a_failure(tmp_path, damage, measured):
    folder = write_report(tmp_path / "a-default", results(checks=CHECKS, profile="default"))
    (folder / "status.json").write_text(damage)
    if not measured:
        (folder / "results.json").unlink()
    (report,) = gallery.collect(tmp_path)
    assert (report.status.outcome, report.status.notebook) == ("failed", "a.ipynb")
    assert (report.results is not None) is measured
    html, text = pages(tmp_path)
    for page in (html, text):
        assert "status.json is damaged" in page
        assert ("1 of 2 reach" in page) is measured
        assert str(tmp_path) not in page


def test_a_run_with_parameters_of_its_own_is_no_reference(tmp_path):
    write_report(tmp_path / "a")
    write_report(tmp_path / "a-custom", results(row(top1=1.0)))
    write_report(tmp_path / "a-default", results(profile="default"), ok(profile="default"))
    whole, custom, default = gallery.collect(tmp_path)
    assert (whole.name, custom.name, custom.custom) == ("a", "a-custom", True)
    assert custom.full.beyond[0].delta == pytest.approx(-91.5)
    assert default.full.beyond == ()
    assert all("(full, own parameters)" in page for page in pages(tmp_path))


def test_headline_figures_of_two_runs_are_compared(tmp_path):
    folder = write_report(tmp_path / "a")
    before = results(checks=(Check("ratio", 1.1, "", 1.05, "<=", "make bench"),))
    compare.compare(before, results(checks=CHECKS)).save(folder / "changes.json")
    html, text = pages(tmp_path)
    assert '<td>ratio</td><td class="num">1.1</td><td class="num">1.2</td>' in html
    assert "| ratio | 1.1 | 1.2 | +0.1 |" in text


def test_what_was_reused_is_said_with_its_origin(tmp_path):
    made = Origin("2026-01-01T01:00:00Z", "2026-01-02T01:00:00Z", "a" * 40, "A CPU")
    Reuse(30, 56, (made,)).save(write_report(tmp_path / "a"))
    for page in pages(tmp_path):
        assert "30 of 86 results reused, computed 2026-01-01 to 2026-01-02 at aaaaaaaaaa" in page


def test_where_nothing_is_kept_it_is_said_to_be_measured_anew(tmp_path):
    folder = write_report(tmp_path / "a")
    assert all("nothing reused: measured anew in every run" in page for page in pages(tmp_path))
    Reuse(0, 3).save(folder)
    assert all("measured anew" not in page for page in pages(tmp_path))


def test_what_is_below_zero_of_a_loss_is_gained(tmp_path):
    checks = (
        Check("W8A8 PTQ", -0.047, "points lost", 0.2, "<=", "make report"),
        Check("W4A4 PTQ", 1.5, "points lost", None, None, "make report"),
    )
    folder = write_report(tmp_path / "a", results(checks=checks))
    compare.compare(results(checks=checks), results(checks=checks)).save(folder / "changes.json")
    for page in pages(tmp_path):
        assert page.count("0.047 points gained") == 3  # as it is, before and now
        assert "1.5 points lost" in page
        assert "0.2 points lost" in page
        assert "-0.0" not in page


def test_one_command_for_all_figures_is_told_once(tmp_path):
    checks = tuple(Check(n, 1.0, "%", 0.5, ">=", "make all-of-it") for n in ("a", "b", "c"))
    write_report(tmp_path / "a", results(checks=checks))
    assert [page.count("make all-of-it") for page in pages(tmp_path)] == [1, 1]


def test_changes_of_one_configuration_stand_together(tmp_path):
    folder = write_report(tmp_path / "a")
    before, after = row(top1=80.0, size_bytes=9), row(size_bytes=8)
    compare.compare(results(before), results(after)).save(folder / "changes.json")
    for page in pages(tmp_path):
        assert page.count(compare.label(after)) == 1
        assert "top1" in page
        assert "size_bytes" in page


@pytest.mark.parametrize(("profile", "said"), [("smoke", True), ("default", False)])
def test_a_trial_is_told_from_results(tmp_path, profile, said):
    shown = tuple(check.unjudged() for check in CHECKS)
    write_report(tmp_path / "a", results(checks=shown, profile=profile), ok(profile=profile))
    for page in pages(tmp_path):
        assert ("A trial of the machinery" in page) is said
        assert "reach their target" not in page  # there are none
        assert "Target" not in page
