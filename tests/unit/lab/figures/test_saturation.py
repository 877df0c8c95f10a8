from __future__ import annotations

import pytest

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.saturation import Outcome, Saturation
from qutils.evaluate.bench.accuracy import wilson
from qutils.lab.figures import saturation_paths
from qutils.lab.figures.theme import to_png


def found(*hits: int) -> Saturation:
    paths = ((8, True, 34.5), (8, False, 11.25), (7, True, 29.0), (7, False, 29.0))
    paths = (*((*path, False) for path in paths), (8, True, 31.5, True), (8, False, 31.5, True))
    hits = (*hits, 1884, 1884)
    outcomes = (Outcome(b, v, h, 2000, db, s) for (b, v, db, s), h in zip(paths, hits, strict=True))
    return Saturation("per_channel, minmax", 1880, tuple(outcomes))


MODELS = {"resnet8": found(1888, 1869, 1880, 1880), "mine": found(1872, 1801, 1872, 1872)}


def test_points_intervals_and_bars_are_the_numbers():
    figure = saturation_paths(MODELS)
    top, _, bottom, _ = figure.axes
    points = [line for line in top.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in points] == [94.4, 93.45, 94.0, 94.0, 94.2, 94.2]
    spans = [tuple(line.get_ydata()) for line in top.lines[1:] if line.get_marker() != "o"]
    assert spans == [wilson(hits, 2000) for hits in (1888, 1869, 1880, 1880, 1884, 1884)]
    assert top.lines[0].get_ydata()[0] == 94.0
    assert [bar.get_height() for bar in bottom.patches] == [34.5, 11.25, 29.0, 29.0, 31.5, 31.5]


def test_one_colour_a_path_and_words_for_it():
    figure = saturation_paths(MODELS)
    bars = figure.axes[2].patches
    assert bars[0].get_facecolor() == bars[2].get_facecolor() != bars[1].get_facecolor()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "with VNNI: sums in 32 bits",
        "without: pairs in 16 bits",
    ]
    titles = [axes.get_title("left") for axes in figure.axes[:2]]
    assert titles[0].startswith("ResNet-8\nper_channel, minmax, n = 2,000")
    assert figure.axes[3].get_xlabel() == "weights"


def test_it_renders_alone_and_refuses_nothing_to_draw():
    assert to_png(saturation_paths({"resnet8": MODELS["resnet8"]})).startswith(b"\x89PNG")
    with pytest.raises(InvalidInputError, match="at least one model"):
        saturation_paths({})
