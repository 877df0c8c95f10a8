from __future__ import annotations

import pandas as pd
import pytest

from qutils.lab.figures.rows import in_order, over_seeds, reference


def test_over_seeds_gives_mean_and_extremes(make_row):
    df = pd.DataFrame([make_row(seed=s, top1=t) for s, t in enumerate((90.0, 91.0, 95.0))])
    (found,) = over_seeds(df).to_dict("records")
    assert (found["mean"], found["low"], found["high"], found["n"]) == (92, 90, 95, 3)


@pytest.mark.parametrize(
    "change",
    [{"weight_bits": 4}, {"observer": "minmax"}, {"execution": "integer"}, {"observer": None}],
    ids=["bits", "observer", "execution", "none"],
)
def test_settings_are_not_mixed(make_row, change):
    summary = over_seeds(pd.DataFrame([make_row(), make_row(**change)]))
    assert list(summary["n"]) == [1, 1]


def test_extra_columns_take_their_median(make_row):
    df = pd.DataFrame([make_row(seed=s, top1=90.0) | {"x": x} for s, x in enumerate((1, 2, 9))])
    assert over_seeds(df, ["x"])["x"].item() == 2


def test_reference_is_the_mean_by_model(rows):
    assert reference(rows).to_dict() == {"resnet8": 92.8, "mobilenetv2": 92.5}


def test_order_follows_the_rows(rows):
    assert in_order(rows, over_seeds(rows)) == ["resnet8", "mobilenetv2"]
