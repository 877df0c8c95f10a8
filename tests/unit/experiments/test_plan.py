from pathlib import Path

import pytest

from qutils.errors import InvalidInputError
from qutils.experiments.plan import REPORTS, plan
from tests.unit.experiments.toy import results, snapshot, write_notebook


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv(REPORTS, str(tmp_path / "reports"))
    return write_notebook(tmp_path / "nb" / "toy.ipynb")


@pytest.mark.parametrize(
    ("profile", "name"), [("full", "toy"), ("default", "toy-default"), ("smoke", "toy-smoke")]
)
def test_destination_follows_the_profile(notebook, tmp_path, profile, name):
    made = plan(notebook, None, {"profile": profile})
    assert made.destination == tmp_path / "reports" / name
    assert made.title == "Title of toy"


def test_notebook_without_profile_goes_to_its_name(tmp_path, notebook):
    other = write_notebook(tmp_path / "nb" / "other.ipynb", parameters="x = 1")
    assert plan(other).destination == tmp_path / "reports" / "other"


def test_full_results_are_spared(notebook, tmp_path):
    folder = tmp_path / "reports" / "toy"
    folder.mkdir(parents=True)
    results(profile="full").save(folder / "results.json")
    before = snapshot(folder)
    with pytest.raises(InvalidInputError, match="holds 'full' results"):
        plan(notebook, folder, {"profile": "smoke"})
    assert plan(notebook, folder, {"profile": "full"}).destination == folder
    assert snapshot(folder) == before


def test_mistyped_parameter_is_refused_before_anything(notebook, tmp_path):
    with pytest.raises(InvalidInputError, match="did you mean 'bits'"):
        plan(notebook, None, {"bitss": [2]})
    assert not (tmp_path / "reports").exists()


def test_notebook_alone_can_be_asked_for(notebook, tmp_path):
    assert plan(notebook, Path(tmp_path / "x.ipynb")).bare
