from pathlib import Path

import nbformat
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.runner.plan import REPORTS, plan
from tests.unit.lab.runner.toy import results, snapshot, write_notebook


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


@pytest.mark.parametrize("profile", ["full", "default"])
def test_parameters_of_its_own_have_a_folder_of_their_own(notebook, tmp_path, profile):
    made = plan(notebook, None, {"profile": profile, "bits": [2]})
    assert made.destination == tmp_path / "reports" / "toy-custom"
    spelled = plan(notebook, None, {"profile": "full", "bits": [2, 4]})  # the default, spelled out
    assert spelled.destination == tmp_path / "reports" / "toy"


def test_full_results_are_spared_from_full_runs_of_other_parameters(notebook, tmp_path):
    folder = tmp_path / "reports" / "toy"
    folder.mkdir(parents=True)
    results(profile="full").save(folder / "results.json")  # its bits are the defaults
    with pytest.raises(InvalidInputError, match="a run with parameters of its own may not"):
        plan(notebook, folder, {"profile": "full", "rate": 0.1})


def test_a_notebook_is_not_replaced_by_its_executed_form(notebook):
    before = notebook.read_bytes()
    with pytest.raises(InvalidInputError, match="is the notebook itself"):
        plan(notebook, notebook)
    with pytest.raises(InvalidInputError, match="is the notebook itself"):
        failed = notebook.rename(notebook.with_name("toy.failed.ipynb"))
        plan(failed, notebook)
    assert failed.read_bytes() == before


@pytest.mark.parametrize("kind", ["written", "damaged", "executed"])
def test_only_an_executed_notebook_may_be_replaced(notebook, tmp_path, kind):
    target = write_notebook(tmp_path / "other.ipynb")
    if kind == "damaged":
        target.write_text("{")
    if kind == "executed":
        found = nbformat.read(target, as_version=4)
        found.metadata["papermill"] = {"duration": 1.0}
        nbformat.write(found, target)
        assert plan(notebook, target).destination == target
        return
    with pytest.raises(InvalidInputError, match="no output of an earlier run"):
        plan(notebook, target)


def test_notebooks_of_the_project_are_never_replaced(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr("qutils.lab.runner.plan.ROOT", tmp_path)
    target = write_notebook(tmp_path / "notebooks" / "a.ipynb")
    found = nbformat.read(target, as_version=4)
    found.metadata["papermill"] = {}
    nbformat.write(found, target)
    with pytest.raises(InvalidInputError, match="no output of an earlier run"):
        plan(notebook, target)
