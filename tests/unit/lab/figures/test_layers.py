from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import sqnr_per_layer
from qutils.lab.figures.theme import to_png

ROWS = pd.DataFrame({"layer": ["stem", "conv", "head"], "sqnr_db": [30.0, 12.5, 25.0]})


def test_layers_stand_in_network_order_from_the_top():
    (axes,) = sqnr_per_layer(ROWS).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["stem", "conv", "head"]
    assert axes.yaxis_inverted()
    assert [bar.get_width() for bar in axes.patches] == [30.0, 12.5, 25.0]
    assert "[dB]" in axes.get_xlabel()


def test_lowest_is_bold():
    bold = [t.get_text() for t in sqnr_per_layer(ROWS).axes[0].texts if t.get_weight() == "bold"]
    assert bold == ["12.5"]


def test_methods_share_a_layer_without_covering_each_other():
    both = pd.concat([ROWS.assign(method="ptq"), ROWS.assign(method="qat")])
    figure = sqnr_per_layer(both)
    edges = sorted((b.get_y(), b.get_y() + b.get_height()) for b in figure.axes[0].patches)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(edges))
    assert [t.get_text() for t in figure.legends[0].texts] == ["PTQ", "QAT"]


@pytest.mark.parametrize(
    "values", [[np.inf, 10.0, 20.0], [np.inf] * 3, [-5.0, 3.0, np.inf], [-5.0, -3.0, -1.0]]
)
def test_exact_and_negative_values_render(values):
    figure = sqnr_per_layer(ROWS.assign(sqnr_db=values))
    assert to_png(figure)
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts.count("exact") == np.isinf(values).sum()


def test_missing_column():
    with pytest.raises(InvalidInputError, match="sqnr_db"):
        sqnr_per_layer(ROWS.drop(columns="sqnr_db"))
