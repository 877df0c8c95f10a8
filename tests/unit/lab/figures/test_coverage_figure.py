from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import sqnr_by_architecture


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "architecture": ["a", "a", "b", "b"],
            "tool": ["qutils", "nncf"] * 2,
            "works": [True, True, True, False],
            "sqnr_db": [30.0, 25.0, 12.0, None],
        }
    )


def test_each_tool_has_its_mark_and_refusals_a_cross() -> None:
    (axes,) = sqnr_by_architecture(table()).axes
    by_label = {line.get_label(): line for line in axes.lines}
    assert list(by_label["qutils"].get_xdata()) == [30, 12]
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    assert crosses[0].get_color() == by_label["nncf"].get_color()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_missing_columns_and_rows_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="works"):
        sqnr_by_architecture(table().drop(columns="works"))
    with pytest.raises(InvalidInputError):
        sqnr_by_architecture(table().head(0))
