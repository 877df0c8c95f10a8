from __future__ import annotations

from pathlib import Path

import pytest

from qutils.evaluate.bench import Latency
from qutils.evaluate.explain import Executed, Explanation, Load, Profile, Roofline
from qutils.lab.figures import time_by_operator
from qutils.lab.figures.explain import KIND_COLORS, SHOWN


def executed(op, kind, milliseconds):
    return Executed(op, op, kind, milliseconds, (), (), (1,), None, 1, 0, 0)


def explanation(*ops, floats=None):
    return Explanation(
        path=Path("net.onnx"),
        latency=Latency(1.0, 0.1, 5, 1, 1),
        profile=Profile(tuple(ops), runs=5, batch=1, threads=1),
        roofline=Roofline(1.0, 1.0, ((1, 1.0),), 1),
        float_ops=(),
        offers=(),
        variants=(),
        quantized=True,
        load=Load(1.0, 0.1),
        floats=floats,
    )


OPS = (
    executed("QLinearConv", "integer", 0.2),
    executed("QLinearConv", "integer", 0.3),
    executed("Erf", "float", 0.4),
    executed("Transpose", "conversion", 0.1),
)


def test_bars_are_the_times_in_the_colours_of_their_kinds():
    axes = time_by_operator(explanation(*OPS)).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 0.4, 0.1])
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["2 QLinearConv", "1 Erf", "1 Transpose"]
    from matplotlib.colors import to_rgba

    assert [bar.get_facecolor() for bar in axes.patches] == [
        to_rgba(KIND_COLORS[kind]) for kind in ("integer", "float", "conversion")
    ]


def test_the_float_file_stands_below_on_the_same_scale():
    floats = Profile((executed("Conv", "float", 2.0),), runs=5, batch=1, threads=1)
    upper, lower = time_by_operator(explanation(*OPS, floats=floats)).axes
    assert lower.patches[0].get_width() == 2.0
    assert upper.get_xlim() == lower.get_xlim()


def test_many_types_become_one_bar_and_lose_no_time():
    ops = [executed(f"Op{i}", "float", 1.0 + i) for i in range(SHOWN + 5)]
    axes = time_by_operator(explanation(*ops)).axes[0]
    assert len(axes.patches) == SHOWN
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(
        sum(op.milliseconds for op in ops)
    )
