from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from qutils.figures.labels import label_points, spread

HEIGHTS = st.lists(st.floats(-100, 100), max_size=12)


@given(HEIGHTS)
def test_spread_keeps_order_distance_and_centre(heights):
    placed = spread(heights, 3.0)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) >= 3.0 - 1e-9).all()
    assert np.sum(placed) == pytest.approx(np.sum(heights), abs=1e-6)


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
    boxes = sorted((t.get_window_extent() for t in axes.texts), key=lambda box: box.y0)
    assert all(a.y1 <= b.y0 + 1 for a, b in itertools.pairwise(boxes))
