from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import (
    accuracy_vs_granularity,
    folding_ranges,
    folding_spread,
    spread_by_fan_in,
)
from qutils.lab.figures.granularity import KINDS
from qutils.lab.figures.theme import GRANULARITY_COLORS, VERMILLION, to_png
from qutils.numerics.schemes import GRANULARITIES

SPREAD = pd.DataFrame(
    {
        "model": ["mobilenetv2", "mobilenetv2", "resnet8"],
        "layer": ["depthwise", "expand", "conv"],
        "kind": ["depthwise", "pointwise", "plain"],
        "weights": [9, 64, 144],
        "spread": [4.0, 1.6, 1.5],
    }
)
FOLDING = pd.DataFrame(
    {"channel": [0, 1], "before": [0.5, 0.01], "factor": [2.0, 300.0], "after": [1.0, 3.0],
     "dead": [False, True]}
)  # fmt: skip


def test_spread_names_the_layers_that_stand_out():
    figure = spread_by_fan_in(SPREAD)
    left, right = figure.axes
    assert [t.get_text() for t in left.texts] == ["depthwise"]
    assert not right.texts
    (point,) = (line for line in left.lines if line.get_color() == KINDS["depthwise"][0])
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (9, 4.0)
    assert left.get_xscale() == left.get_yscale() == "log"
    assert [t.get_text() for t in figure.legends[0].texts] == ["depthwise", "pointwise", "plain"]


def test_folding_spread_goes_from_hollow_to_solid():
    rows = SPREAD.assign(before=[2.0, 2.5, 1.5], after=[4.0, 1.6, 1.5])
    (axes,) = folding_spread(rows).axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [2.0, 2.5, 1.5]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["depthwise", "expand", "conv"]
    assert axes.yaxis_inverted()


def test_folding_ranges_put_the_widest_on_top_and_colour_the_dead():
    figure = folding_ranges(FOLDING)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["1", "0"]
    for axes, column in zip(figure.axes, ("before", "factor", "after"), strict=True):
        ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
        assert ends == pytest.approx(FOLDING[column][::-1].tolist())
    red = np.array([int(VERMILLION[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert figure.axes[2].patches[0].get_facecolor()[:3] == pytest.approx(red)


def test_accuracy_has_a_line_for_each_granularity():
    rows = [
        {"model": "resnet8", "granularity": g, "weight_bits": b, "top1": 90.0 - i - (8 - b),
         "low": 80.0, "high": 95.0}
        for i, g in enumerate(GRANULARITIES) for b in (8, 4)
    ]  # fmt: skip
    fp32 = {"model": "resnet8", "granularity": None, "weight_bits": None, "top1": 93.0,
            "low": 92.0, "high": 94.0}  # fmt: skip
    figure = accuracy_vs_granularity(pd.DataFrame([fp32, *rows]))
    axes, everything = figure.axes
    lines = [bars.lines[0] for bars in axes.containers]
    drawn = {line.get_color(): line.get_ydata().tolist() for line in lines}
    assert drawn[GRANULARITY_COLORS["per_tensor"]] == [86.0, 90.0]
    assert set(drawn) == set(GRANULARITY_COLORS.values())
    assert "simulated" in axes.get_ylabel()
    assert axes.lines[0].get_ydata()[0] == 93.0
    assert axes.get_ylim()[0] > 80
    assert everything.get_ylim() == (0, 100)
    with pytest.raises(InvalidInputError, match="lacks its FP32 row"):
        accuracy_vs_granularity(pd.DataFrame(rows))


@pytest.mark.parametrize(
    "figure", [spread_by_fan_in(SPREAD), folding_ranges(FOLDING)], ids=["spread", "folding"]
)
def test_they_render(figure):
    assert to_png(figure)


def test_bad_input_is_named():
    with pytest.raises(InvalidInputError, match="unknown kind of layer 'odd'"):
        spread_by_fan_in(SPREAD.assign(kind="odd"))
    with pytest.raises(InvalidInputError, match="ranges of 0"):
        folding_ranges(FOLDING.assign(before=[0.0, 1.0]))
    with pytest.raises(InvalidInputError, match="spread"):
        spread_by_fan_in(SPREAD.drop(columns="spread"))
