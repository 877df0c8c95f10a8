from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.figures import OBSERVER_COLORS, accuracy_vs_observer


@pytest.fixture
def observed(rows, make_row):
    """The rows, and minmax beside mse at W8A8 for both models."""
    extra = [make_row(model=m, observer="minmax", top1=90.0) for m in ("resnet8", "mobilenetv2")]
    return pd.concat([rows, pd.DataFrame(extra)])


def test_only_settings_with_several_observers(observed):
    figure = accuracy_vs_observer(observed)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "ResNet-8 (FP32 92.8 %)\nW8A8 per channel",
        "MobileNetV2 (FP32 92.5 %)\nW8A8 per channel",
    ]


def test_every_observer_has_its_colour_and_place(observed):
    axes = accuracy_vs_observer(observed).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    found = {(names[int(p.get_ydata()[0])], p.get_color()) for p in points}
    assert found == {(name, OBSERVER_COLORS[name]) for name in ("mse", "minmax")}


def test_one_observer_is_no_comparison(rows):
    with pytest.raises(InvalidInputError, match="no rows to draw"):
        accuracy_vs_observer(rows)
