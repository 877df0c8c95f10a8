"""Budgets in multiples of the reference workload: complete, and what goes over them is named."""

from __future__ import annotations

import json
import subprocess

import pytest

from qutils.files import ROOT
from tools import budgets


def test_every_notebook_has_a_budget_and_no_other():
    notebooks = {str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").rglob("*.ipynb")
                 if ".ipynb_checkpoints" not in path.parts}  # fmt: skip
    assert set(budgets.budgets()["notebooks"]) == notebooks


def test_every_test_folder_has_a_budget_and_no_other():
    files = [str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("test_*.py")]
    assert set(budgets.budgets()["tests"]) == {
        budgets.folder_of(f) for f in [*files, "qutils/x.py"]
    }


def test_the_steps_are_those_of_the_script():
    script = (ROOT / ".ci" / "run").read_text()
    for name in set(budgets.budgets()["steps"]) - {"tests", "total"}:
        assert f"step {name} " in script or f"joined {name}\n" in script, name


def test_parts_over_budget_are_named_and_no_other(tmp_path):
    path, allowed = tmp_path / "durations.json", budgets.budgets()
    lint, notebook = allowed["steps"]["lint"], "notebooks/00_start_here.ipynb"
    budgets.keep(path, "reference", {"seconds": 10.0})
    budgets.keep(path, "steps", {"lint": 10 * lint + 1, "install": 1.0, "unheard of": 9e9})
    budgets.keep(path, "notebooks", {notebook: 10 * allowed["notebooks"][notebook] - 1})
    lines = list(budgets.report(path))
    (late,) = [line for line in lines if line.startswith("OVER")]
    assert late.startswith("OVER BUDGET: lint: ")
    assert f"{lint:g} allowed" in late
    budgets.keep(path, "steps", {"lint": 1.0})
    assert list(budgets.report(path))[-1] == "every part is within its budget"


def test_without_a_reference_nothing_is_compared(tmp_path):
    (line,) = budgets.report(tmp_path / "none.json")
    assert "nothing to compare with" in line


@pytest.mark.parametrize("words", [["keep", "steps", "lint", "3.5"], ["merge", "steps", "FILE"]])
def test_the_command_line_keeps_seconds(tmp_path, monkeypatch, words):
    path, file = tmp_path / "durations.json", tmp_path / "some.json"
    file.write_text(json.dumps({"lint": 3.5}))
    monkeypatch.setenv(budgets.DURATIONS, str(path))
    budgets.main([str(file) if word == "FILE" else word for word in words])
    assert budgets.read(path) == {"steps": {"lint": 3.5}}
    with pytest.raises(SystemExit):
        budgets.main(["nonsense"])


def test_an_unknown_tier_is_refused():
    done = subprocess.run(["bash", ROOT / ".ci" / "run", "all"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "fast|full|nightly" in done.stderr
