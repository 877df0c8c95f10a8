from __future__ import annotations

import itertools

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import beyond_the_range, calibration_curves, calibration_sources

CURVE = pd.DataFrame(
    [
        (bits, observer, n, draw, 3.0 * bits + n + draw, 90.0 + draw)
        for bits, observer, n, draw in itertools.product(
            (4, 8), ("minmax", "mse"), (1, 4, 16), (0, 1)
        )
    ],
    columns=["activation_bits", "observer", "pictures", "draw", "sqnr_db", "top1"],
)
SOURCES = pd.DataFrame(
    [
        (source, observer, draw, 20.0 + draw, 90.0 - draw)
        for source, observer, draw in itertools.product(
            ("random", "one_class"), ("minmax", "mse"), (0, 1, 2)
        )
    ],
    columns=["source", "observer", "draw", "sqnr_db", "top1"],
)


def test_lines_are_means_and_bands_reach_from_draw_to_draw():
    figure = calibration_curves(CURVE, fp32=93.0)
    titles = [axes.get_title(loc="left") for axes in figure.axes[:2]]
    assert titles == ["8-bit activations", "4-bit activations"]
    line, band = figure.axes[0].lines[0], figure.axes[0].collections[0]
    assert line.get_ydata().tolist() == [25.5, 28.5, 40.5]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (25.0, 41.0)
    assert figure.axes[2].lines[-1].get_ydata()[0] == 93.0


def test_without_fp32_only_the_sqnr_is_drawn():
    renamed = CURVE.rename(columns={"pictures": "batch_size"})
    figure = calibration_curves(renamed, x="batch_size", xlabel="batch")
    assert len(figure.axes) == 2
    assert figure.axes[0].get_xlabel() == "batch"
    with pytest.raises(InvalidInputError, match="pictures"):
        calibration_curves(renamed)


def test_every_draw_is_a_point():
    figure = calibration_sources(SOURCES, fp32=93.0)
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sorted(len(line.get_xdata()) for line in points) == [3, 3, 3, 3]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["random", "one class"]


def test_measured_stands_beside_expected():
    rows = pd.DataFrame({"pictures": [4, 1], "measured": [19.0, 52.0], "expected": [20.0, 50.0]})
    expected, measured = beyond_the_range(rows).axes[0].lines
    assert expected.get_ydata().tolist() == [50.0, 20.0]
    assert measured.get_ydata().tolist() == [52.0, 19.0]


@pytest.mark.parametrize("draw", [calibration_curves, beyond_the_range])
def test_missing_columns_are_named(draw):
    with pytest.raises(InvalidInputError, match="lack the columns"):
        draw(CURVE.drop(columns=["observer"]))
