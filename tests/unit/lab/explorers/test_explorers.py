"""Every registered explorer: what it answers, whatever is set, without a browser."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from html import escape
from typing import Any

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.registry import EXPLORERS, explorer

SETTINGS = 30  # per explorer: one that answers slowly is sampled


@pytest.fixture(scope="module", params=sorted(EXPLORERS))
def shown(request: pytest.FixtureRequest) -> Explorer:
    return explorer(request.param)


def settings(shown: Explorer) -> Iterator[dict[str, Any]]:
    """Each control moved through its options, the others at their default."""
    start = shown.complete({})
    moves = [{**start, c.name: option} for c in shown.controls for option in c.options]
    stride = math.ceil(len(moves) / SETTINGS)
    yield from moves[::stride]


def test_every_control_answers_with_finite_numbers_and_words(shown: Explorer) -> None:
    for setting in settings(shown):
        view = shown.view(**setting)
        assert view.alt.strip(), setting
        assert view.facts, setting
        for fact in view.facts:
            if isinstance(fact.value, float):
                exact = fact.unit == "dB" and fact.value == math.inf  # nothing was rounded
                assert math.isfinite(fact.value) or exact, (setting, fact)
            assert f'data-fact="{escape(fact.name)}">{escape(fact.text)}</dd>' in view.html()


@pytest.mark.slow(reason="draws each explorer many times; the core asks each for its numbers")
def test_the_picture_follows_and_repeats(shown: Explorer) -> None:
    """Other numbers, other picture; the same setting, the same bytes, whatever came between."""
    last, seen = None, {}
    for setting in settings(shown):
        view = shown.view(**setting)
        picture = shown.picture(view)
        if last is not None and view.numbers != last[0]:
            assert picture != last[1], setting
        last = (view.numbers, picture)
        key = tuple(setting.items())
        assert seen.setdefault(key, picture) == picture
    for key in list(seen)[:: max(1, len(seen) // 6)]:
        view = shown.view(**dict(key))
        assert shown.picture(view) == seen[key], key
        assert view.numbers == shown.view(**dict(key)).numbers


def test_every_control_matters(shown: Explorer) -> None:
    for control in shown.controls:
        answers = {
            shown.view(**{control.name: option}).html() + shown.view(**{control.name: option}).alt
            for option in control.options[:: max(1, len(control.options) // 5)]
        }
        assert len(answers) > 1, control.name


def test_what_is_prepared_ahead_is_a_control(shown: Explorer) -> None:
    assert set(shown.ahead) <= {control.name for control in shown.controls}


def test_html_holds_no_tag_that_is_not_ours(shown: Explorer) -> None:
    allowed = r"</?(dl|div|dt|dd|p|pre|table|thead|tbody|tr|th|td)( [a-z-]+=\"[^\"<>]*\")*>"
    assert "<" not in re.sub(allowed, "", shown.view().html())


def test_unknown_controls_and_values_are_refused_with_the_range(shown: Explorer) -> None:
    control = shown.controls[0]
    with pytest.raises(InvalidInputError, match=f"unknown control 'nonsense'.*{control.name}"):
        shown.view(nonsense=1)
    for control in shown.controls:
        with pytest.raises(InvalidInputError, match=re.escape(str(control.options[0]))):
            shown.view(**{control.name: -7_777 if control.kind == "slider" else "nonsense"})


def test_an_unknown_explorer_is_named() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'affine'"):
        explorer("afine")
