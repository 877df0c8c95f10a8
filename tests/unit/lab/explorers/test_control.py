from __future__ import annotations

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.explorers.control import Control

BITS = Control("bits", "Bits", tuple(range(2, 9)), 4, frames=(2, 8))
MENU = Control("observer", "Observer", ("minmax", "mse"), "mse", kind="menu")


@pytest.mark.parametrize(
    ("control", "value", "message"),
    [
        (BITS, 9, "bits is 9; it can be 2..8"),
        (BITS, True, "bits is True; it can be 2..8"),
        (BITS, "4", "bits is '4'; it can be 2..8"),
        (Control("reach", "Range", (10, 50), 10), 20, "reach is 20; it can be 10, 50"),
        (MENU, "msee", "did you mean 'mse'"),
    ],
)
def test_a_value_that_is_no_option_is_refused_with_the_options(control, value, message):
    with pytest.raises(InvalidInputError, match=message):
        control.check(value)


def test_an_option_comes_back_as_it_stands_in_the_list():
    assert type(BITS.check(4.0)) is int


@pytest.mark.parametrize(
    "bad",
    [
        {"options": ()},
        {"default": 5},
        {"texts": ("one",)},
        {"frames": (1, 5)},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_a_control_that_cannot_be_is_refused(bad):
    given = {"options": (1, 2), "default": 1, **bad}
    with pytest.raises(InvalidInputError, match=r"control 'x'|x is"):
        Control("x", "X", **given)


def test_texts_are_how_options_are_written():
    assert MENU.text("mse") == "mse"
    assert Control("g", "G", ("per_channel",), "per_channel").text("per_channel") == "per channel"
    assert Control("r", "R", (1, 2), 1, texts=("1 %", "2 %")).to_json()["texts"] == ["1 %", "2 %"]


def test_only_keeps_texts_and_starts_at_an_option_that_is_left():
    fewer = Control("r", "R", (1, 2, 3), 2, texts=("a", "b", "c")).only((1, 3))
    assert (fewer.options, fewer.default, fewer.texts) == ((1, 3), 1, ("a", "c"))
    assert BITS.only((2, 4)).default == 4
