from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot

from qutils.errors import InvalidInputError
from qutils.figures import accuracy_vs_bits, accuracy_vs_latency, accuracy_vs_size
from qutils.figures.theme import METHOD_COLORS, to_png

DRAW = [accuracy_vs_bits, accuracy_vs_size, accuracy_vs_latency]
ids = pytest.mark.parametrize("draw", DRAW, ids=lambda f: f.__name__)


def texts(figure):
    """Every text of a figure."""
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_text()]


def markers(axes, method):
    """Marker lines of a method in one panel."""
    color = METHOD_COLORS[method]
    return [m for m in axes.lines if m.get_marker() in ("o", "s", "D") and m.get_color() == color]


def bars(axes):
    """Lengths of the error bars [y] in one panel."""
    segments = [s for c in axes.collections for s in getattr(c, "get_segments", list)()]
    return sorted(round(abs(s[1][1] - s[0][1]), 6) for s in segments)


@ids
def test_it_renders_without_leaking_into_pyplot(rows, draw):
    before = pyplot.get_fignums()
    assert to_png(draw(rows))[:4] == b"\x89PNG"
    assert pyplot.get_fignums() == before


@ids
def test_a_panel_per_model_in_the_order_of_the_rows(rows, draw):
    titles = [axes.get_title(loc="left") for axes in draw(rows).axes]
    assert [t for t in titles if t] == ["ResNet-8", "MobileNetV2"]


@ids
def test_the_rows_are_left_alone(rows, draw):
    copy = rows.copy(deep=True)
    draw(rows)
    pd.testing.assert_frame_equal(rows, copy)


@ids
def test_fp32_is_dashed_and_labelled(rows, draw):
    figure = draw(rows)
    assert {"FP32 92.8 %", "FP32 92.5 %"} <= set(texts(figure))
    dashed = [line for line in figure.axes[0].lines if line.is_dashed()]
    assert any(set(line.get_ydata()) == {92.8} for line in dashed)


@ids
def test_axes_have_units(rows, draw):
    figure = draw(rows)
    labels = [axes.get_xlabel() for axes in figure.axes] + [a.get_ylabel() for a in figure.axes]
    joined = " ".join(labels)
    assert "top-1 accuracy [%]" in joined
    assert any(unit in joined for unit in ("weight bits", "[KiB]", "[ms]"))


@ids
def test_no_fp32_row(rows, draw):
    with pytest.raises(InvalidInputError, match="no row with method fp32 for resnet8"):
        draw(rows[(rows["method"] != "fp32") | (rows["model"] != "resnet8")])


@ids
def test_missing_columns_are_named(rows, draw):
    with pytest.raises(InvalidInputError, match="lack the columns .*top1"):
        draw(rows.drop(columns="top1"))


@ids
def test_nothing_quantized(rows, draw):
    with pytest.raises(InvalidInputError, match="no rows to draw"):
        draw(rows[rows["method"] == "fp32"])


def test_points_are_means_and_bars_extremes_of_seeds(rows):
    axes = accuracy_vs_bits(rows).axes[0]
    means = [m.get_ydata()[0] for m in markers(axes, "qat")]
    assert means == pytest.approx([92.5] * 3)  # seeds 92.3, 92.5, 92.7
    assert bars(axes) == [0.4] * 3  # PTQ ran once: no bar


def test_note_says_what_the_bars_are(rows):
    assert any(
        "lowest to highest seed, n = 1 (PTQ), 3 (QAT)" in t for t in texts(accuracy_vs_bits(rows))
    )
    single = rows[rows["seed"] == 0]
    assert "single runs, no interval" in texts(accuracy_vs_bits(single))


def test_simulated_is_hollow_and_measured_is_filled(rows):
    at_8 = [m for m in markers(accuracy_vs_bits(rows).axes[0], "ptq") if m.get_xdata()[0] > 7]
    faces = {round(m.get_ydata()[0], 1): m.get_markerfacecolor() for m in at_8}
    assert faces == {92.7: "white", 92.6: METHOD_COLORS["ptq"]}


def test_zoomed_panel_only_where_something_collapsed(rows):
    figure = accuracy_vs_bits(rows)
    assert len(figure.axes) == 4
    low, high = figure.axes[0].get_ylim()
    assert low == pytest.approx(92.5 - 4)
    assert high > 92.8
    assert figure.axes[2].get_ylim() == (0, 100)
    assert len(accuracy_vs_bits(rows[~(rows["top1"] < 80)]).axes) == 2


def test_activation_bits_have_their_line_style(rows, make_row):
    extra = pd.DataFrame([make_row(activation_bits=4, top1=90.0)])
    figure = accuracy_vs_bits(pd.concat([rows, extra]))
    assert {"activations 4 bit", "activations 8 bit"} <= set(texts(figure))
    assert not any("activations" in t for t in texts(accuracy_vs_bits(rows)))


def test_several_observers_in_one_setting_are_refused(rows, make_row):
    extra = pd.DataFrame([make_row(observer="minmax")])
    with pytest.raises(InvalidInputError, match=r"several observers \(minmax, mse\)"):
        accuracy_vs_bits(pd.concat([rows, extra]))


def test_unknown_execution_is_refused(rows, make_row):
    extra = pd.DataFrame([make_row(execution="guessed", weight_bits=6)])
    with pytest.raises(InvalidInputError, match="'guessed'"):
        accuracy_vs_bits(pd.concat([rows, extra]))


def test_only_what_was_measured_has_a_size(rows):
    axes = accuracy_vs_size(rows).axes[0]
    (point,) = markers(axes, "ptq")
    assert point.get_xdata()[0] == 100  # KiB
    assert markers(axes, "qat") == []
    assert "W8A8" in texts(accuracy_vs_size(rows))


def test_size_of_nothing(rows):
    with pytest.raises(InvalidInputError, match="no rows to draw"):
        accuracy_vs_size(rows.assign(size_bytes=None))


def test_latency_states_batch_and_threads(rows):
    axes = accuracy_vs_latency(rows).axes[0]
    assert axes.get_xlabel().startswith("latency [ms], batch 1, 1 thread\n")


def test_iqr_is_the_length_of_the_bar(rows):
    axes = accuracy_vs_latency(rows[rows["seed"] == 0]).axes[0]
    segments = [s for c in axes.collections for s in getattr(c, "get_segments", list)()]
    assert {round(s[1][0] - s[0][0], 6) for s in segments} == {0.04}


def test_batch_may_be_an_argument(rows):
    figure = accuracy_vs_latency(rows.drop(columns="batch"), batch=32)
    assert "batch 32" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("column", ["threads", "batch"])
def test_mixed_conditions_are_refused(rows, column):
    mixed = rows.copy()
    mixed.loc[mixed["latency_ms_median"].notna() & (mixed["model"] == "resnet8"), column] = 2
    with pytest.raises(InvalidInputError, match="one of each at a time"):
        accuracy_vs_latency(mixed)


def test_unknown_batch_is_refused(rows):
    with pytest.raises(InvalidInputError, match="batch sizes"):
        accuracy_vs_latency(rows.drop(columns="batch"))
