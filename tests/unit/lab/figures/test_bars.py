from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import latency_bars, memory_bars, size_bars, step_bars
from qutils.lab.figures.bars import FILE_COLORS


@pytest.fixture
def latencies():
    base = {"iqr_ms": 0.2, "threads": 1}
    return pd.DataFrame(
        [
            {
                **base,
                "model": m,
                "batch": b,
                "file": f,
                "session": s,
                "median_ms": t,
                "over_float": r,
            }
            for m in ("resnet8", "mobilenetv2")
            for b in (1, 32)
            for f, s, t, r in (
                ("FP32", "exact", 1.0, 1.0),
                ("INT8 qutils", "exact", 1.2, 1.2),
                ("INT8 qutils", "default", 0.7, 0.7),
            )
        ]
    )


@pytest.fixture
def sizes():
    parts = {"weights": 1024, "biases": 512, "scales": 256, "graph": 256}
    rows = [("FP32", 1.0), ("INT8 qutils", 0.3)]
    return pd.DataFrame(
        [
            {"model": "resnet8", "file": name, **parts, "total": 2048, "file_ratio": ratio}
            for name, ratio in rows
        ]
    )


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_panel_for_each_model_and_batch(latencies):
    figure = latency_bars(latencies)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "ResNet-8, batch 1", "MobileNetV2, batch 1", "ResNet-8, batch 32", "MobileNetV2, batch 32",
    ]  # fmt: skip
    assert "[ms], 1 thread" in figure.axes[2].get_xlabel()


def test_bars_are_the_medians_and_the_default_setting_is_hatched(latencies):
    axes = latency_bars(latencies).axes[0]
    bars = axes.patches
    assert [bar.get_width() for bar in bars] == [1.0, 1.2, 0.7]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, False, True]
    assert texts(axes) == ["1.00 ms", "1.20 ms, 1.20 of FP32", "0.700 ms, 0.70 of FP32"]
    assert len({FILE_COLORS["FP32"], FILE_COLORS["INT8 qutils"]}) == 2


def test_the_line_spans_the_iqr(latencies):
    (lines,) = latency_bars(latencies).axes[0].collections
    spans = [segment[1][0] - segment[0][0] for segment in lines.get_segments()]
    assert spans == pytest.approx([0.2] * 3)


def test_parts_are_stacked_to_the_whole_file(sizes):
    axes = size_bars(sizes).axes[0]
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) == 2  # KiB
    assert texts(axes) == ["2 KiB", "2 KiB, 0.30 of FP32"]
    assert axes.get_xlabel() == "file size [KiB]"


def test_memory_has_two_bars_and_a_mark_for_each_observer():
    row = {"model": "resnet8", "few": 256, "many": 4096, "base_mib": 380.0, "ratio": 1.025}
    rows = [{**row, "observer": o, "few_mib": 400.0, "many_mib": 410.0} for o in ("mse", "minmax")]
    figure = memory_bars(pd.DataFrame(rows))
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [400, 410, 400, 410]
    assert [line.get_xdata()[0] for line in axes.lines] == [380, 380]
    assert texts(axes) == ["ratio 1.025"] * 2
    assert "4,096 pictures" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_steps_show_the_ratio():
    row = {"model": "resnet8", "iqr_ms": 5.0, "batch": 128, "threads": 1}
    rows = [
        {**row, "method": "fp32", "label": "FP32 training", "median_ms": 100.0, "ratio": 1.0},
        {**row, "method": "qat", "label": "QAT W4A4", "median_ms": 148.0, "ratio": 1.49},
    ]
    axes = step_bars(pd.DataFrame(rows)).axes[0]
    assert texts(axes) == ["100 ms", "148 ms, 1.49 of FP32"]
    assert axes.get_xlabel() == "one step, batch 128 [ms]"


@pytest.mark.parametrize("draw", [latency_bars, size_bars, memory_bars, step_bars])
def test_what_is_missing_is_named(draw):
    with pytest.raises(InvalidInputError, match="lack the columns"):
        draw(pd.DataFrame({"model": ["resnet8"]}))
