"""``qutils drag``: what it writes; that it measures is seen in a real browser only."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from qutils import cli
from qutils.lab.browser import chromium, latency
from qutils.lab.browser.latency import Latency
from qutils.lab.explorers.registry import EXPLORERS
from qutils.lab.results import gallery, results

FOUND = (
    Latency("affine", "The affine mapping", 60, 50.0, 80.5, 90.0),
    Latency("lab", "The lab", 60, 300.0, 501.0, 800.0),
)


@contextmanager
def no_browser():
    yield SimpleNamespace(version="150")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(chromium, "launched", no_browser)
    monkeypatch.setattr(latency, "measure", lambda *_: iter(FOUND))
    return CliRunner().invoke(cli.main, ["drag", *arguments])


def test_percentiles_are_kept_with_their_target_and_machine(tmp_path, monkeypatch):
    result = run(monkeypatch, "--out", str(tmp_path / "browser_latency"))
    assert result.exit_code == 0, result.output
    made = results.load(tmp_path / "browser_latency" / "results.json")
    assert [(c.value, c.target, c.passed) for c in made.checks] == [
        (80.5, 100.0, True),
        (501.0, 500.0, False),  # missed, told, and no failure of the command
    ]
    assert made.provenance.parameters["browser"] == "Chromium 150"
    assert "median 50.0 ms" in made.checks[0].note


def test_the_overview_shows_them(tmp_path, monkeypatch):
    run(monkeypatch, "--out", str(tmp_path / "browser_latency"))
    page = gallery.build(tmp_path).read_text(encoding="utf-8")
    assert "affine: key press to picture, 95th percentile" in page
    assert "qutils drag affine" in page


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        ((), "browser_latency"),
        (tuple(EXPLORERS), "browser_latency"),
        (("lab",), "browser_latency-custom"),
        (("--moves", "20"), "browser_latency-custom"),
    ],
    ids=str,
)
def test_a_part_does_not_replace_the_whole(tmp_path, monkeypatch, arguments, folder):
    monkeypatch.setenv("QUTILS_REPORTS", str(tmp_path))
    result = run(monkeypatch, *arguments)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert (tmp_path / folder / "results.json").is_file()


def test_an_unknown_explorer_is_refused(monkeypatch):
    result = run(monkeypatch, "afine")
    assert result.exit_code == 2
    assert "did you mean 'affine'" in result.output
