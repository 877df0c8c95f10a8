from __future__ import annotations

import math

import numpy as np
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import OBSERVER_COLORS, clipping_ranges
from qutils.lab.figures.theme import to_png

EDGES, COUNTS = np.arange(5.0), np.array([10, 20, 60, 10])


def test_ranges_stand_at_their_values_in_their_colours():
    strip, panel = clipping_ranges(EDGES, COUNTS, {"minmax": (0, 4), "mse": (1, 3)}).axes
    bars = {line.get_color(): list(line.get_xdata()) for line in strip.lines}
    assert bars == {OBSERVER_COLORS["minmax"]: [0, 4], OBSERVER_COLORS["mse"]: [1, 3]}
    assert sorted(line.get_xdata()[0] for line in panel.lines) == [0, 1, 3, 4]
    assert panel.get_yscale() == "log"
    assert [t.get_text() for t in strip.get_yticklabels()] == ["minmax", "mse"]


@pytest.mark.parametrize(
    ("low", "high", "percent"), [(0, 4, "0"), (1, 3, "20"), (1.5, 3, "30"), (-9, 9, "0")]
)
def test_share_of_clipped_values(low, high, percent):
    strip = clipping_ranges(EDGES, COUNTS, {"mse": (low, high)}).axes[0]
    assert strip.texts[0].get_text().endswith(f"clips {percent} %")


def test_it_renders_a_range_of_one_point():
    assert to_png(clipping_ranges(EDGES, COUNTS, {"mse": (2, 2)}))


@pytest.mark.parametrize(
    ("edges", "counts", "ranges", "message"),
    [
        (EDGES, COUNTS[:3], {"mse": (0, 1)}, r"B bins have B \+ 1 edges"),
        (EDGES, 0 * COUNTS, {"mse": (0, 1)}, "empty"),
        (EDGES[::-1], COUNTS, {"mse": (0, 1)}, "do not rise"),
        (EDGES, COUNTS, {}, "at least one observer"),
        (EDGES, COUNTS, {"mse": (1, 0)}, "low > high"),
        (EDGES, COUNTS, {"mse": (math.nan, 0)}, "NaN"),
        (EDGES, COUNTS, {"nosuch": (0, 1)}, "unknown observer 'nosuch'"),
    ],
    ids=["lengths", "empty", "falling", "no-range", "reversed", "nan", "observer"],
)
def test_bad_input(edges, counts, ranges, message):
    with pytest.raises(InvalidInputError, match=message):
        clipping_ranges(edges, counts, ranges)
