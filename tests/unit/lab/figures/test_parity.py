from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import parity_by_layer


def table() -> pd.DataFrame:
    rows = [
        ("resnet8", "simulation", 0, "stem", 0.0, 0.0),
        ("resnet8", "simulation", 1, "conv", 0.02, 0.02),
        ("resnet8", "simulation", 2, "pool", 0.5, 0.0),
        ("resnet8", "onnxruntime", 0, "stem", 0.0, 0.0),
        ("resnet8", "onnxruntime", 2, "pool", 0.0, 0.0),
        ("mobilenetv2", "a new one", 0, "stem", 0.1, 0.1),
    ]
    columns = ["model", "executor", "place", "layer", "differs", "own_differs"]
    return pd.DataFrame(rows, columns=columns).assign(values=1000)


def test_a_panel_a_model_and_none_below_the_least_difference():
    figure = parity_by_layer(table())
    first, second = figure.axes
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == [
        "ResNet-8",
        "MobileNetV2",
    ]
    assert [label.get_text() for label in first.get_xticklabels()] == ["stem", "conv", "pool"]
    floor, *others = first.get_yticks()
    assert first.get_yticklabels()[0].get_text() == "none"
    assert floor < 0.02 < min(others[-2:])
    assert "[%]" in first.get_ylabel()


def test_filled_is_what_departs_itself():
    figure = parity_by_layer(table())
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    filled, hollow = marks[:2]
    assert list(filled.get_xdata()) == [1]
    assert list(hollow.get_xdata()) == [0, 2]
    assert hollow.get_markerfacecolor() == "white"
    assert filled.get_markerfacecolor() == filled.get_color()


def test_equal_everywhere_can_be_drawn():
    parity_by_layer(table().assign(differs=0.0, own_differs=0.0))


def test_bad_tables():
    with pytest.raises(InvalidInputError, match="own_differs"):
        parity_by_layer(table().drop(columns="own_differs"))
    with pytest.raises(InvalidInputError):
        parity_by_layer(table().head(0))
