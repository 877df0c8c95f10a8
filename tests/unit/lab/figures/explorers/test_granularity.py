"""What the pixels of the number lines say."""

from __future__ import annotations

import numpy as np
import pytest

from qutils.lab.figures.explorers.granularity import (
    GAP,
    GranularityData,
    GranularityPlot,
    number_lines,
)

COLOR, GREY, BLACK, WHITE = (255, 0, 0), (226, 226, 226), (40, 40, 40), (255, 255, 255)


def data(weights: list[list[list[float]]], scales: list[list[float]], qmax: int) -> GranularityData:
    count = len(weights)
    return GranularityData(
        layer="toy",
        granularity="per_channel",
        bits=4,
        channels=tuple(range(count)),
        weights=np.array(weights),
        scales=np.array(scales),
        zero_points=np.zeros_like(np.array(scales)),
        qmin=-qmax,
        qmax=qmax,
        sqnr_db=np.full(count, 20.0),
        effective_bits=np.full(count, 3.0),
    )


def columns(row: np.ndarray, color: tuple[int, int, int]) -> list[int]:
    return np.flatnonzero((row[:, :3] == color).all(axis=1)).tolist()


@pytest.fixture
def picture() -> np.ndarray:
    """Two channels, a pixel for each unit from -10 to 10: steps 4 and 2, integers -2..2."""
    toy = data([[[-8.0, 3.0]], [[1.0, 4.0]]], [[4.0], [2.0]], qmax=2)
    return number_lines(toy, (-10.5, 9.5), (40, 20), "#ff0000")


def test_each_channel_shows_the_levels_of_its_own_grid(picture):
    # Pixel i covers (i - 10.5, i - 9.5]: the level k lies in pixel k + 10.
    assert columns(picture[1], COLOR) == [2, 6, 10, 14, 18]
    assert columns(picture[21], COLOR) == [6, 8, 10, 12, 14]


def test_grey_reaches_from_the_lowest_to_the_highest_weight_and_zero(picture):
    assert columns(picture[1], GREY) == [3, 4, 5, 7, 8, 9, 11, 12, 13]
    assert columns(picture[21], GREY) == [11, 13]


def test_weights_are_ticks_at_the_bottom_of_their_row(picture):
    bottom = int(20 * (1 - GAP)) - 2
    assert columns(picture[bottom], BLACK) == [2, 13]
    assert columns(picture[20 + bottom], BLACK) == [11, 14]
    assert columns(picture[1], BLACK) == []


def test_channels_are_set_apart(picture):
    assert (picture[19] == 255).all()


def test_a_grid_finer_than_the_pixels_is_solid_between_its_ends():
    toy = data([[[-5.0, 5.0]]], [[0.04]], qmax=127)  # levels from -5.08 to 5.08
    row = number_lines(toy, (-10.5, 9.5), (10, 20), "#ff0000")[1]
    assert columns(row, COLOR) == list(range(5, 16))


def test_groups_share_the_height_of_their_channel():
    toy = data([[[-8.0], [2.0]]], [[4.0, 1.0]], qmax=2)
    lines = number_lines(toy, (-10.5, 9.5), (40, 20), "#ff0000")
    assert columns(lines[2], COLOR) == [2, 6, 10, 14, 18]
    assert columns(lines[20], COLOR) == [8, 9, 10, 11, 12]


def test_bars_and_dots_follow():
    plot = GranularityPlot()
    toy = data([[[-8.0, 3.0]], [[1.0, 4.0]]], [[4.0], [2.0]], qmax=2)
    plot.show(toy)
    assert [segment[1].tolist() for segment in plot.bands.get_segments()] == [[20, 0], [20, 1]]
    assert plot.points.get_xdata().tolist() == [3.0, 3.0]
    assert [t.get_text() for t in plot.lines.get_yticklabels()] == ["0", "1"]


def test_an_exact_channel_reaches_the_edge():
    plot = GranularityPlot()
    toy = data([[[1.0]]], [[1.0]], qmax=7)
    plot.show(GranularityData(**{**toy.__dict__, "sqnr_db": np.array([np.inf])}))
    assert plot.bands.get_segments()[0][1][0] == plot.bars.get_xlim()[1]
