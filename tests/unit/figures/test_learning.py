from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.figures import learning_curves
from qutils.figures.theme import METHOD_COLORS


def curve(seed, bits=4, epochs=3, **extra):
    return [
        {
            "model": "resnet8",
            "method": "qat",
            "weight_bits": bits,
            "activation_bits": bits,
            "seed": seed,
            "epoch": e,
            "loss": 1 / e + seed,
            "accuracy": 90.0 + e,
            **extra,
        }
        for e in range(1, epochs + 1)
    ]


def test_mean_is_strong_and_seeds_are_faint():
    axes = learning_curves(pd.DataFrame(curve(0) + curve(1))).axes[0]
    faint = [line for line in axes.lines if line.get_alpha() is not None]
    (strong,) = [line for line in axes.lines if line.get_alpha() is None]
    assert len(faint) == 2
    np.testing.assert_allclose(strong.get_ydata(), [1.5, 1.0, 1 / 3 + 0.5])
    assert strong.get_color() == METHOD_COLORS["qat"]


def test_mean_ends_where_a_seed_ends():
    axes = learning_curves(pd.DataFrame(curve(0) + curve(1, epochs=2))).axes[0]
    (strong,) = [line for line in axes.lines if line.get_alpha() is None]
    assert list(strong.get_xdata()) == [1, 2]


def test_settings_of_a_method_have_lines_of_their_own():
    figure = learning_curves(pd.DataFrame(curve(0) + curve(0, bits=2)))
    assert [t.get_text() for t in figure.legends[0].texts] == ["QAT W4A4", "QAT W2A2"]
    styles = {(line.is_dashed()) for line in figure.axes[0].lines}
    assert styles == {True, False}


def test_panels_have_units():
    figure = learning_curves(pd.DataFrame(curve(0)))
    labels = [a.get_ylabel() for a in figure.axes]
    assert labels == ["training loss [nats]", "training accuracy [%]"]
    assert figure.axes[1].get_xlabel() == "epoch"


def test_bits_are_optional():
    rows = pd.DataFrame(curve(0)).drop(columns=["weight_bits", "activation_bits"])
    assert learning_curves(rows).legends[0].texts[0].get_text() == "QAT"


def test_missing_column():
    with pytest.raises(InvalidInputError, match="loss"):
        learning_curves(pd.DataFrame(curve(0)).drop(columns="loss"))
