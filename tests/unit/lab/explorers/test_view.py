from __future__ import annotations

import math

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.explorers.view import Fact, View
from tests.unit.lab.explorers.toy import EVIL


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (Fact("n", "N", 7), "7"),
        (Fact("n", "N", 31.256, "dB"), "31.26 dB"),
        (Fact("n", "N", math.inf, "dB"), "exact, ∞ dB"),
        (Fact("n", "N", 0.0, "%"), "0.00 %"),
        (Fact("n", "N", 0.0001234, "per step"), "1.23e-04 per step"),
        (Fact("n", "N", "none"), "none"),
        (Fact("n", "N", 12.6, "%", 0), "13 %"),
    ],
)
def test_facts_are_written_with_unit_and_digits(fact, text):
    assert fact.text == text


def test_two_facts_of_one_name_are_refused():
    with pytest.raises(InvalidInputError, match="share a name"):
        View((Fact("a", "A", 1), Fact("a", "B", 2)), "", "alt").numbers  # noqa: B018


def test_hostile_text_is_escaped_everywhere():
    facts, table, commands = (Fact(EVIL, EVIL, EVIL, EVIL),), ((EVIL,), (EVIL,)), ((EVIL, EVIL),)
    html = View(facts, EVIL, EVIL, table, commands=commands).html()
    assert "<script" not in html
    assert "<img" not in html
    assert (
        html.count("&lt;script&gt;") == 9
    )  # name, label, value, unit, note, head, cell, both of a command


def test_the_table_has_a_head_and_rows():
    html = View((), "", "alt", (("layer", "dB"), ("conv", "31"))).html()
    assert '<th scope="col">layer</th>' in html
    assert "<tbody><tr><td>conv</td><td>31</td></tr></tbody>" in html
