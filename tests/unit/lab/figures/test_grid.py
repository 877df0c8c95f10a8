from __future__ import annotations

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import accuracy_grid


@pytest.fixture
def fields() -> pd.DataFrame:
    pairs = [(w, a) for w in (8, 2, 4) for a in (4, 8)]  # in any order
    return pd.DataFrame(
        [{"weight_bits": w, "activation_bits": a, "top1": 10.0 * w + a} for w, a in pairs]
    )


def test_each_field_holds_its_number_weights_across_activations_up(fields):
    (axes,) = accuracy_grid(fields).axes
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[(0, 0)] == "24.0"  # W2A4
    assert written[(2, 1)] == "88.0"  # W8A8
    assert len(written) == 6
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "8"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["4", "8"]
    low, high = axes.get_ylim()
    assert low < high  # few activation bits below


def test_numbers_stand_out_from_their_field(fields):
    (axes,) = accuracy_grid(fields).axes
    colors = {text.get_text(): text.get_color() for text in axes.texts}
    assert colors["24.0"] == "white"
    assert colors["88.0"] != "white"


def test_missing_columns_are_named(fields):
    with pytest.raises(InvalidInputError, match="top1"):
        accuracy_grid(fields.drop(columns="top1"))
