from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import learning_curves
from qutils.lab.figures.theme import METHOD_COLORS


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


def test_settings_have_colours_of_their_own_in_lines_and_legend():
    bits = (4, 2, 8, 3, 6)
    figure = learning_curves(pd.DataFrame([row for b in bits for row in curve(0, bits=b)]))
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.texts] == [f"QAT W{b}A{b}" for b in sorted(bits)]
    colors = [handle.get_color() for handle in legend.legend_handles]
    assert len(set(colors)) == len(bits)
    assert METHOD_COLORS["ptq"] not in colors
    for axes in figure.axes:
        assert [line.get_color() for line in axes.lines] == colors


def test_seeds_are_thin_lines_of_the_colour_of_their_setting():
    rows = [row for seed in (0, 1) for bits in (2, 4) for row in curve(seed, bits)]
    axes = learning_curves(pd.DataFrame(rows)).axes[0]
    for color in {line.get_color() for line in axes.lines}:
        widths = [line.get_linewidth() for line in axes.lines if line.get_color() == color]
        assert len(widths) == 3
        assert sorted(widths)[1] < max(widths)


def test_more_settings_than_colours_have_other_lines():
    rows = [row for bits in range(2, 9) for row in curve(0, bits)]
    lines = learning_curves(pd.DataFrame(rows)).axes[0].lines
    assert len({(line.get_color(), line.is_dashed()) for line in lines}) == 7


def test_loss_has_a_logarithmic_axis():
    figure = learning_curves(pd.DataFrame(curve(0)))
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]


def test_note_says_whether_there_are_seeds():
    def note(rows):
        return learning_curves(pd.DataFrame(rows)).legends[0].get_title().get_text()

    assert note(curve(0)) == "one seed"
    assert "n = 2" in note(curve(0) + curve(1))


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
