from __future__ import annotations

import numpy as np
import pytest

from qutils.lab.figures.raster import STRONGEST, Canvas

WHITE = (255, 255, 255, 255)


@pytest.fixture
def canvas() -> Canvas:
    return Canvas((60, 100))


def cell(canvas: Canvas, row: int, column: int) -> tuple[int, ...]:
    """Background of a cell of 20x20 pixels, beside its number."""
    return tuple(canvas.pixels[20 * row + 3, 20 * column + 3])


def test_cells_are_coloured_by_their_distance_from_the_center(canvas):
    canvas.matrix((0, 0), (20, 20), np.array([[5, 9, 1], [7, 5, 5]]), center=5)
    assert cell(canvas, 0, 0) == cell(canvas, 1, 1) == WHITE
    red, _, blue, _ = cell(canvas, 0, 1)  # above: orange
    assert red > blue
    red, _, blue, _ = cell(canvas, 0, 2)  # below: blue
    assert red < blue
    weaker, strongest = cell(canvas, 1, 0)[2], cell(canvas, 0, 1)[2]
    assert 255 - weaker == pytest.approx((255 - strongest) / 2, abs=1)


def test_the_strongest_colour_leaves_text_readable(canvas):
    canvas.matrix((0, 0), (20, 20), np.array([[100, -100]]))
    for column in range(2):
        assert min(cell(canvas, 0, column)[:3]) >= round(255 * (1 - STRONGEST)) - 1


def test_equal_values_are_white(canvas):
    canvas.matrix((0, 0), (20, 20), np.array([[3, 3]]), center=3)
    assert cell(canvas, 0, 0) == WHITE


def test_muted_cells_are_white_whatever_they_hold(canvas):
    muted = np.array([[True, False]])
    canvas.matrix((0, 0), (20, 20), np.array([[9, 9]]), muted=muted)
    assert cell(canvas, 0, 0) == WHITE
    assert cell(canvas, 0, 1) != WHITE


def test_numbers_are_written(canvas):
    one, other = Canvas((60, 100)), Canvas((60, 100))
    one.matrix((0, 0), (50, 50), np.array([[1]]))
    other.matrix((0, 0), (50, 50), np.array([[8]]))
    assert not np.array_equal(one.pixels, other.pixels)


def test_frames_are_empty_inside(canvas):
    canvas.frame((10, 10), (30, 20))
    assert tuple(canvas.pixels[10, 25]) == (0, 0, 0, 255)
    assert tuple(canvas.pixels[20, 25]) == WHITE
