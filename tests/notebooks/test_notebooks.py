"""Every notebook: exactly one parameters cell, short cells, no outputs."""

from pathlib import Path

import nbformat
import pytest

from qutils.files import ROOT
from qutils.lab.runner.parameters import read_parameters

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=[str(p.relative_to(ROOT)) for p in NOTEBOOKS])
def notebook(request) -> Path:
    return request.param


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_one_cell_is_tagged_parameters_and_has_a_profile(notebook):
    names = {parameter.name: parameter for parameter in read_parameters(notebook)}
    assert "profile" in names
    assert set(names["profile"].choices) >= {"smoke", "default", "full"}
    assert all(parameter.help for parameter in names.values())


def test_cells_are_short_and_without_outputs(notebook):
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 25
            assert not cell.outputs
            assert cell.execution_count is None
