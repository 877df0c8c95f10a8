from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import OBSERVER_COLORS, accuracy_vs_observer


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


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_a_setting_has_rows_for_the_observers_it_was_run_with(observed, make_row):
    extra = [
        make_row(model=m, observer=name, granularity=grain, top1=90.0)
        for m in ("resnet8", "mobilenetv2")
        for name, grain in (
            ("mse", "per_tensor"),
            ("minmax", "per_tensor"),
            ("entropy", "per_channel"),
        )
    ]
    figure = accuracy_vs_observer(pd.concat([observed, pd.DataFrame(extra)]))
    assert names(figure.axes[0]) == ["mse", "minmax", "entropy"]
    assert names(figure.axes[2]) == ["mse", "minmax"]
    assert not any(axes.texts for axes in figure.axes)


def test_what_one_model_was_not_run_with_is_told(observed, make_row):
    extra = pd.DataFrame([make_row(observer="entropy", top1=90.0)])  # resnet8 alone
    figure = accuracy_vs_observer(pd.concat([observed, extra]))
    assert [[t.get_text() for t in axes.texts] for axes in figure.axes] == [[], ["not run"]]


@pytest.mark.parametrize(("n", "told"), [(200, True), (10_000, False)], ids=["200", "10000"])
def test_a_panel_narrower_than_the_interval_is_named(observed, n, told):
    figure = accuracy_vs_observer(observed.assign(top1_n=n))  # 2.8 points from minmax to FP32
    note = figure.legends[0].get_title().get_text()
    assert "single runs; 95 % interval of one point: ± " in note
    assert ("all of a panel within one such interval: W8A8 per channel" in note) == told


def test_a_narrow_panel_of_one_model_names_the_model(observed):
    far = (observed["model"] == "resnet8") & (observed["observer"] == "minmax")
    df = observed.assign(top1_n=200, top1=observed["top1"].where(~far, 50.0))
    note = accuracy_vs_observer(df).legends[0].get_title().get_text()
    assert note.endswith("W8A8 per channel (MobileNetV2)")


def test_one_observer_is_no_comparison(rows):
    with pytest.raises(InvalidInputError, match="no rows to draw"):
        accuracy_vs_observer(rows)
