from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import versions
from qutils.lab.figures.theme import method_color


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "version": ["FP32", "INT8, PTQ"],
            "method": ["fp32", "ptq"],
            "size_kb": [312.0, 87.0],
            "top1": [94.0, 93.0],
            "top1_low": [93.0, 92.0],
            "top1_high": [95.0, 94.0],
            "latency_ms": [0.2, 0.1],
            "iqr_ms": [0.02, 0.04],
        }
    )


def test_bars_are_the_values_in_the_colour_of_the_method(rows):
    from matplotlib.colors import to_hex

    size, top1, latency = versions(rows).axes
    for axes, column in ((size, "size_kb"), (top1, "top1"), (latency, "latency_ms")):
        bars = axes.patches
        assert [bar.get_width() for bar in bars] == list(rows[column])
        found = [to_hex(bar.get_facecolor()).upper() for bar in bars]
        assert found == [method_color(m).upper() for m in rows["method"]]
    assert [text.get_text() for text in size.texts] == ["312 kB", "87 kB"]
    assert [label.get_text() for label in size.get_yticklabels()] == list(rows["version"])


def test_whiskers_span_the_interval_and_the_iqr(rows):
    _, top1, latency = versions(rows).axes
    ends = [path.vertices[:, 0].tolist() for path in top1.collections[0].get_paths()]
    assert ends == [[93.0, 95.0], [92.0, 94.0]]
    ends = [path.vertices[:, 0].tolist() for path in latency.collections[0].get_paths()]
    assert ends[1] == pytest.approx([0.08, 0.12])


def test_missing_columns_are_named(rows):
    with pytest.raises(InvalidInputError, match="iqr_ms"):
        versions(rows.drop(columns="iqr_ms"))
