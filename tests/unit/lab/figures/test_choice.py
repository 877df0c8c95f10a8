from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import objective_curves, sqnr_by_observer

CELLS = pd.DataFrame(
    [
        ("plain", "minmax", 20.0, None),
        ("plain", "mse", 20.02, None),
        ("far", "minmax", 3.0, "minmax"),
        ("far", "mse", 18.0, "minmax"),
    ],
    columns=["tensor", "observer", "sqnr_db", "fools"],
)
CURVES = pd.DataFrame(
    [(r, "error", "mse", (r - 2) ** 2 + 0.1) for r in range(1, 6)]
    + [(r, "KL", "entropy", 1 / r) for r in range(1, 6)],
    columns=["range", "objective", "observer", "value"],
)


def test_the_matrix_writes_every_number_the_best_bold():
    axes = sqnr_by_observer(CELLS).axes[0]
    texts = {text.get_text(): text.get_fontweight() for text in axes.texts}
    assert texts == {"20.0": "bold", "3.0": "normal", "18.0": "bold"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["plain", "far"]
    lost = axes.images[0].get_array()
    assert lost[1].tolist() == [12.0, 0.0]  # 15 dB are as dark as 12
    (frame,) = axes.patches
    assert frame.get_x() == pytest.approx(-0.47)
    assert frame.get_y() == pytest.approx(0.56)


def test_nothing_is_framed_without_a_column_that_says_so():
    assert not sqnr_by_observer(CELLS.drop(columns="fools")).axes[0].patches


def test_a_missing_cell_is_refused():
    with pytest.raises(InvalidInputError, match="far.*mse"):
        sqnr_by_observer(CELLS[:-1])


def test_each_objective_has_its_minimum_marked():
    figure = objective_curves(CURVES)
    notes = [axes.texts[0].get_text() for axes in figure.axes]
    assert notes == ["mse chooses 2.00", "entropy chooses 5.00"]
    for axes, at in zip(figure.axes, (2, 5), strict=True):
        assert axes.lines[-1].get_xdata() == [at]


def test_no_rows_are_refused():
    with pytest.raises(InvalidInputError, match="no rows"):
        objective_curves(CURVES[:0])
