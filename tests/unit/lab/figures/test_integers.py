from __future__ import annotations

import numpy as np
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import integer_twins, pair_saturation, rounding_rules
from qutils.lab.figures.theme import to_png


def test_twins_stand_above_each_other():
    real, integers = np.array([[-0.5, 1.25]]), np.array([[2, 9]])
    figure = integer_twins({"x": (real, integers)}, {"x": 4})
    top, bottom = figure.axes
    assert (top.get_title("left"), bottom.get_title("left")) == ("x, real", "x, integers")
    assert [t.get_text() for t in top.texts] == ["-0.50", "1.25"]
    assert [t.get_text() for t in bottom.texts] == ["2", "9"]


def test_zero_is_white_in_both():
    real, integers = np.array([[0.0, -3.0]]), np.array([[4, 1]])
    for axes in integer_twins({"x": (real, integers)}, {"x": 4}).axes:
        colors = axes.collections[0].get_facecolors()
        assert colors[0][:3] == pytest.approx([1, 1, 1], abs=0.01)
        assert colors[1][:3] != pytest.approx([1, 1, 1], abs=0.1)


def test_where_the_rules_part_is_marked():
    figure = rounding_rules([1, 2, 3], 0.5, {"even": [0, 1, 2], "away": [1, 1, 2]})
    (axes,) = figure.axes
    (mark,) = axes.patches
    assert mark.get_x() + mark.get_width() / 2 == pytest.approx(1)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["unrounded", "even", "away"]


def test_saturation_shows_both_outputs_and_their_difference():
    exact, clamped = np.array([[5, 9]]), np.array([[5, 2]])
    figure = pair_saturation(np.array([-70_000, 0, 1, 2]), exact, clamped)
    left, right, wrong, difference = figure.axes
    assert right.images[0].get_array().tolist() == [[5, 9]]
    assert wrong.images[0].get_array().tolist() == [[5, 2]]
    assert difference.images[0].get_array().tolist() == [[0, -7]]
    assert "−7..7" in difference.get_title("left")
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in left.patches[-2:]]
    assert spans[0][1] == -32_768
    assert spans[1][0] == 32_767
    assert to_png(figure)


def test_bad_input_is_named():
    with pytest.raises(InvalidInputError, match="not twins"):
        integer_twins({"x": (np.ones((1, 2)), np.ones((2, 1)))}, {"x": 0})
    with pytest.raises(InvalidInputError, match="no matrix"):
        integer_twins({}, {})
    with pytest.raises(InvalidInputError, match="two rules"):
        rounding_rules([1], 0.5, {"even": [1]})
    with pytest.raises(InvalidInputError, match="of one shape"):
        pair_saturation([1], np.ones((2, 2)), np.ones((2, 3)))
