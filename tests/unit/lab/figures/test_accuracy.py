from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot

from qutils.errors import InvalidInputError
from qutils.lab.figures import accuracy_vs_bits, accuracy_vs_latency, accuracy_vs_size
from qutils.lab.figures.theme import METHOD_COLORS, to_png

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
    assert [t.partition(" (")[0] for t in titles if t] == ["ResNet-8", "MobileNetV2"]


@ids
def test_the_rows_are_left_alone(rows, draw):
    copy = rows.copy(deep=True)
    draw(rows)
    pd.testing.assert_frame_equal(rows, copy)


@ids
def test_fp32_is_dashed_and_told(rows, draw):
    figure = draw(rows)
    assert {"ResNet-8 (FP32 92.8 %)", "MobileNetV2 (FP32 92.5 %)", "FP32"} <= set(texts(figure))
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


def test_single_runs_tell_the_interval_over_the_pictures(rows):
    single = rows[rows["seed"] == 0]
    near = single[single["top1"] > 80].assign(top1_n=10_000)
    assert "single runs; 95 % interval of one point: ± 0.5 to 0.6 points, n = 10,000" in texts(
        accuracy_vs_bits(near)
    )
    assert any(
        "± 3.0 to 3.5 points, n = 300" in t
        for t in texts(accuracy_vs_bits(near.assign(top1_n=300)))
    )


def one_width(make_row, top1, activations=(6,)):
    """FP32, and PTQ and QAT at W3 beside these activations."""
    return pd.DataFrame(
        [make_row(method="fp32", weight_bits=32, activation_bits=32, execution="float", top1=94.0)]
        + [
            make_row(method=method, weight_bits=3, activation_bits=a, top1=top1 + a + d)
            for a in activations
            for method, d in (("ptq", 0.0), ("qat", 2.0))
        ]
    )


def test_points_of_a_single_width_stand_at_its_tick(make_row):
    figure = accuracy_vs_bits(one_width(make_row, 70.0))
    (axes,) = figure.axes  # nothing is near FP32: no panel for that
    assert axes.get_xlim() == (2.5, 3.5)
    places = [m.get_xdata()[0] for method in ("ptq", "qat") for m in markers(axes, method)]
    assert len(places) == 2
    assert all(abs(x - 3) < 0.1 for x in places)


def test_bits_that_all_points_share_are_said_once(make_row):
    figure = accuracy_vs_bits(one_width(make_row, 70.0))
    assert not figure.axes[0].texts
    assert any(t.startswith("W3A6; single runs") for t in texts(figure))


def test_labels_of_a_single_width_stay_in_the_panel(make_row):
    figure = accuracy_vs_bits(one_width(make_row, 70.0, (4, 6)))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    panel = axes.get_window_extent()
    assert sorted(t.get_text() for t in axes.texts) == ["W3A4", "W3A4", "W3A6", "W3A6"]
    for text in axes.texts:
        box = mpl.text.Text.get_window_extent(text)
        assert panel.x0 <= box.x0 <= box.x1 <= panel.x1


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


def activation_entries(figure):
    return {t for t in texts(figure) if t.startswith("activations")}


def test_activation_bits_have_their_line_style(rows, make_row):
    extra = [make_row(activation_bits=4, weight_bits=w, top1=90.0) for w in (4, 8)]
    figure = accuracy_vs_bits(pd.concat([rows, pd.DataFrame(extra)]))
    assert activation_entries(figure) == {"activations 4 bit", "activations 8 bit"}
    assert activation_entries(accuracy_vs_bits(rows)) == set()


def test_legend_promises_no_line_for_a_lone_point(rows, make_row):
    extra = [make_row(activation_bits=4, weight_bits=4, top1=91.0)]
    figure = accuracy_vs_bits(pd.concat([rows, pd.DataFrame(extra)]))
    assert activation_entries(figure) == {"activations 8 bit"}
    assert texts(figure).count("W4A4") == 1  # named once, though two panels show it


@pytest.mark.parametrize(("top1", "panel"), [(91.0, 0), (60.0, 2)], ids=["near", "collapsed"])
def test_a_lone_point_is_named_where_it_is_seen(rows, make_row, top1, panel):
    extra = [make_row(activation_bits=4, weight_bits=4, top1=top1)]
    figure = accuracy_vs_bits(pd.concat([rows, pd.DataFrame(extra)]))
    named = [i for i, axes in enumerate(figure.axes) if axes.texts]
    assert named == [panel]


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


def test_what_is_the_same_for_all_points_is_said_once(rows, make_row):
    extra = make_row(observer="minmax", execution="integer", top1=92.0, size_bytes=100 * 1024)
    figure = accuracy_vs_size(pd.concat([rows, pd.DataFrame([extra])]))
    assert {t.get_text() for t in figure.axes[0].texts} == {"mse", "minmax"}
    assert any(t.startswith("W8A8; ") for t in texts(figure))


def test_labels_that_would_be_equal_name_method_and_granularity(rows, make_row):
    extra = [
        make_row(execution="integer", top1=92.0, size_bytes=90 * 1024) | change
        for change in (
            {"observer": "minmax"},
            {"granularity": "per_tensor"},
            {"observer": "minmax", "granularity": "per_tensor", "top1": 91.0},
            {"observer": "entropy", "top1": 90.0},
            {"method": "qat", "top1": 91.5},
        )
    ]
    figure = accuracy_vs_size(pd.concat([rows, pd.DataFrame(extra)]))
    assert sorted(t.get_text() for t in figure.axes[0].texts) == [
        "PTQ mse per channel",
        "PTQ mse per tensor",
        "QAT mse per channel",
        "entropy",
        "minmax per channel",
        "minmax per tensor",
    ]
    assert [t.get_text() for t in figure.axes[1].texts] == ["mse"]


def test_labels_stay_in_the_panel(rows, make_row):
    extra = [
        make_row(execution="integer", top1=92.8 + i / 100, size_bytes=90 * 1024, observer=name,
                 granularity=grain)
        for i, name in enumerate(("minmax", "entropy", "percentile", "moving_average"))
        for grain in ("per_channel", "per_tensor")
    ]  # fmt: skip
    figure = accuracy_vs_size(pd.concat([rows, pd.DataFrame(extra)]))
    figure.draw_without_rendering()
    panel = figure.axes[0].get_window_extent()
    boxes = [mpl.text.Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 9
    assert all(panel.y0 <= box.y0 and box.y1 <= panel.y1 for box in boxes)


def test_labels_keep_off_the_line_of_fp32(rows, make_row):
    extra = [
        make_row(observer=name, execution="integer", top1=92.8 + d, size_bytes=100 * 1024)
        for name, d in (("minmax", 0.0), ("entropy", -0.01), ("percentile", 0.01))
    ]
    figure = accuracy_vs_size(pd.concat([rows, pd.DataFrame(extra)]))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    line = axes.transData.transform((0, 92.8))[1]
    boxes = [mpl.text.Text.get_window_extent(text) for text in axes.texts]  # no leaders
    assert len(boxes) == 4
    assert not any(box.y0 <= line <= box.y1 for box in boxes)


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
