import json

import pytest
from matplotlib.figure import Figure
from PIL import Image

from qutils.errors import InvalidInputError
from qutils.lab.results import publish, results
from qutils.lab.results.results import Check
from tests.unit.lab.runner.toy import row


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(publish.REPORT_DIR, str(tmp_path))
    monkeypatch.setenv(publish.REPORT_PARAMETERS, json.dumps({"profile": "smoke"}))
    monkeypatch.setenv(publish.REPORT_STARTED, "2026-01-02T03:04:05Z")
    return tmp_path


def figure():
    made = Figure(figsize=(2, 1))
    made.subplots().plot([1, 2])
    return made


def test_folder_is_temporary_when_run_by_hand(monkeypatch):
    monkeypatch.delenv(publish.REPORT_DIR)
    made = publish.report_dir()
    assert made.is_dir()
    assert publish.report_dir() == made


def test_results_carry_the_run(folder):
    publish.write_results([row()], [Check("a", 1.0, "s", 2.0, "<=", "make bench")])
    made = results.load(folder / "results.json")
    assert made.provenance.profile == "smoke"
    assert made.provenance.started == "2026-01-02T03:04:05Z"
    assert made.checks[0].passed


def test_no_rows_are_refused(folder):
    with pytest.raises(InvalidInputError, match="no rows"):
        publish.write_results([])
    assert not (folder / "results.json").exists()


def test_two_checks_of_one_name_are_refused():
    check = Check("a", 1.0, "s", 2.0, "<=", "make bench")
    with pytest.raises(InvalidInputError, match="same name"):
        publish.write_results([row()], [check, check])


def test_figure_is_saved_twice_and_shows_itself(folder):
    saved = publish.save_figure(figure(), "accuracy", "Accuracy rises – always.")
    data, metadata = saved._repr_mimebundle_(include=None, exclude=None)
    assert (folder / "figures" / "accuracy.svg").read_text().startswith("<?xml")
    assert metadata["image/png"]["alt"] == data["text/plain"] == "Accuracy rises – always."
    with Image.open(saved.png) as image:
        assert metadata["image/png"]["width"] == pytest.approx(image.width * 96 / 144, abs=0.5)
        assert image.info["Description"] == "Accuracy rises – always."


def test_same_figure_gives_the_same_bytes():
    first = publish.save_figure(figure(), "a", "x")
    before = first.png.read_bytes(), first.svg.read_bytes()
    publish.save_figure(figure(), "a", "x")
    assert before == (first.png.read_bytes(), first.svg.read_bytes())


@pytest.mark.parametrize(("name", "alt"), [("../a", "x"), ("A b", "x"), ("a", " ")])
def test_unusable_name_or_description_is_refused(name, alt):
    with pytest.raises(InvalidInputError, match="figure"):
        publish.save_figure(figure(), name, alt)
