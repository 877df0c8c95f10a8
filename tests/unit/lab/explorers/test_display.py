from __future__ import annotations

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.explorers import display, explore
from qutils.lab.site.explorers import MIME, MODE
from tests.unit.lab.explorers.toy import Toy


def bundle(shown):
    return shown._repr_mimebundle_()


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    monkeypatch.delenv(MODE, raising=False)


def test_live_it_is_a_widget():
    pytest.importorskip("anywidget")
    panel = explore(Toy(), bits=8)
    assert panel.values["bits"] == 8
    data = panel._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert "application/vnd.jupyter.widget-view+json" in data


def test_without_the_extra_its_picture_says_which_command_installs_it(monkeypatch, capsys):
    monkeypatch.setattr(display, "find_spec", lambda name: None)
    data, about = bundle(explore(Toy()))
    assert data["image/png"].startswith(b"\x89PNG")
    assert "make lab (or pip install -e '.[lab]')" in data["text/plain"]
    assert "make lab" in capsys.readouterr().out
    assert about["image/png"]["alt"] == "Staircase of 16 steps, affine"


def test_in_a_report_its_picture_stands_without_a_notice(monkeypatch, capsys):
    monkeypatch.setenv(MODE, "picture")
    data, _ = bundle(explore(Toy(), bits=8))
    assert data["image/png"] == Toy().picture(Toy().view(bits=8))
    assert data["text/plain"] == "Toy"
    assert capsys.readouterr().out == ""


def test_for_the_site_its_frames_are_computed(monkeypatch, capfd):
    monkeypatch.setenv(MODE, "frames")
    data, _ = bundle(explore(Toy()))
    assert set(data) == {MIME, "text/plain"}
    assert len(data[MIME]["frames"]) == 6


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv(MODE, "frame")
    with pytest.raises(InvalidInputError, match="did you mean 'frames'"):
        explore(Toy())


@pytest.mark.parametrize("mode", ["live", "picture", "frames"])
def test_a_start_out_of_range_is_refused_in_every_mode(monkeypatch, mode):
    monkeypatch.setenv(MODE, mode)
    with pytest.raises(InvalidInputError, match=r"bits is 99; it can be 2\.\.8"):
        explore(Toy(), bits=99)
