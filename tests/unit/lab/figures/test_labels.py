from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from qutils.lab.figures.labels import label_points, spread, spread_around

HEIGHTS = st.lists(st.floats(-100, 100), max_size=12)


@given(HEIGHTS)
def test_spread_keeps_order_distance_and_centre(heights):
    placed = spread(heights, 3.0)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) >= 3.0 - 1e-9).all()
    assert np.sum(placed) == pytest.approx(np.sum(heights), abs=1e-6)


@given(HEIGHTS, st.floats(-100, 100))
def test_spread_around_a_line_keeps_sides_order_and_distance(heights, line):
    placed = spread_around(heights, 3.0, line)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) >= 3.0 - 1e-9).all()
    assert (np.abs(placed - line) >= 3.0 - 1e-9).all()
    np.testing.assert_array_equal(placed > line, np.asarray(heights) >= line)


@pytest.mark.parametrize(("left", "sign"), [(True, -1), (False, 1)], ids=["left", "right"])
def test_labels_stand_on_their_side_with_a_line_where_they_moved(left, sign):
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    figure.draw_without_rendering()
    points = np.array([[5.0, 5.0], [5.0, 9.0]])
    label_points(axes, points, ["a", "b"], [5.0] * 2, line=5.0, left=left)
    figure.draw_without_rendering()
    at = axes.transData.transform((5.0, 0.0))[0] - sign * 0.01
    for text in axes.texts:
        assert text.get_ha() == ("right" if left else "left")
        assert sign * (axes.transData.transform(text.xy)[0] - at) >= 0
        assert sign * text.xyann[0] > 0
    assert [text.arrow_patch is not None for text in axes.texts] == [True, False]


def test_spread_leaves_free_labels_where_they_are():
    np.testing.assert_array_equal(spread([10.0, 0.0, 5.0], 3.0), [10.0, 0.0, 5.0])


def test_labels_of_near_points_do_not_overlap():
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    figure.draw_without_rendering()
    points = np.array([[2.0, 5.0], [2.0, 5.1], [2.0, 5.2], [2.0, 5.05]])
    label_points(axes, points, ["W8A8", "W4A8", "W4A4", "W8A8"], [2.0] * 4)
    assert sorted(t.get_text() for t in axes.texts) == ["W4A4", "W4A8", "W8A8"]  # one is shared
    figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(t) for t in axes.texts), key=lambda box: box.y0)
    assert all(a.y1 <= b.y0 + 1 for a, b in itertools.pairwise(boxes))
