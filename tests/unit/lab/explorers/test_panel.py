from __future__ import annotations

import pytest

pytest.importorskip("anywidget")

from qutils.errors import InvalidInputError
from qutils.lab.explorers.panel import Panel
from tests.unit.lab.explorers.toy import EVIL, Toy


def drag(panel, *setting):
    """What the browser sends: the indices of the options, then one more request."""
    with panel.hold_sync():
        panel.setting = list(setting)
        panel.request += 1


def test_it_starts_with_an_answer():
    panel = Panel(Toy(), bits=8)
    assert panel.shown == 0
    assert panel.values == {"bits": 8, "shape": "affine", "pause": 0}
    assert panel.picture == Toy().picture(Toy().view(bits=8))
    assert panel.html == Toy().view(bits=8).html()
    assert panel.alt == Toy().view(bits=8).alt
    assert panel.error == ""


def test_a_move_from_python_shows_and_returns_the_answer():
    panel = Panel(Toy())
    view = panel.move(bits=2, shape="symmetric")
    assert view.numbers == Toy().view(bits=2, shape="symmetric").numbers
    assert panel.html == view.html()
    assert panel.shown == panel.request == 1
    assert panel.move(bits=3).numbers == Toy().view(bits=3, shape="symmetric").numbers


@pytest.mark.parametrize("wrong", [{"bits": 99}, {"bitz": 2}])
def test_a_move_that_cannot_be_changes_nothing(wrong):
    panel = Panel(Toy())
    before = (panel.setting, panel.request, panel.html)
    with pytest.raises(InvalidInputError):
        panel.move(**wrong)
    assert (panel.setting, panel.request, panel.html) == before


def test_a_drag_is_answered_once():
    toy = Toy()
    panel = Panel(toy)
    drag(panel, 6, 0, 0)
    assert toy.computed == 2
    assert panel.shown == 1
    assert panel.html == Toy().view(bits=8).html()


def test_the_same_setting_again_is_answered_again():
    panel = Panel(Toy())
    drag(panel, *panel.setting)
    assert panel.shown == panel.request == 1


def test_an_error_is_shown_and_the_last_picture_stays():
    panel = Panel(Toy(refused=2))
    picture, html = panel.picture, panel.html
    drag(panel, 0, 0, 0)
    assert panel.error == "no kernel of 2 bits"
    assert panel.shown == panel.request
    assert (panel.picture, panel.html) == (picture, html)
    drag(panel, 6, 0, 0)
    assert panel.error == ""


@pytest.mark.parametrize("forged", [(99, 0, 0), (0, 0), ()])
def test_an_index_that_no_control_has_is_an_error_not_a_crash(forged):
    panel = Panel(Toy())
    drag(panel, *forged)
    assert panel.error
    assert panel.shown == panel.request


def test_hostile_notes_arrive_escaped():
    assert "<script" not in Panel(Toy(note=EVIL)).html


def test_an_error_at_the_start_is_shown_and_mended_by_a_move():
    panel = Panel(Toy(refused=4))
    assert panel.error == "no kernel of 4 bits"
    panel.move(bits=5)
    assert panel.error == ""
    with pytest.raises(InvalidInputError, match="no kernel of 4 bits"):
        panel.move(bits=4)


def test_an_error_that_nobody_meant_is_shown_with_its_kind():
    toy = Toy()
    panel = Panel(toy)
    toy.compute = lambda **setting: 1 / 0
    drag(panel, 0, 0, 0)
    assert panel.error == "ZeroDivisionError: division by zero"
