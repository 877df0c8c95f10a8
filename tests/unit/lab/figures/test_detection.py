from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
import torch
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from qutils.errors import InvalidInputError
from qutils.lab.figures import theme
from qutils.lab.figures.detection import (
    MAKER_COLORS,
    PART_COLORS,
    boxes_on_pictures,
    detector_files,
    sqnr_by_part,
)

PICTURES = torch.rand(2, 3, 16, 24)
LABELS = torch.tensor([[2.0, 3, 10, 9, 1, 0], [4, 4, 20, 12, 1, 1]])
FOUND = torch.tensor([[2.5, 3, 10, 9, 0.874, 1]])
NAMES = ("disk", "star")


def rectangles(axes):
    return [p for p in axes.patches if isinstance(p, Rectangle)]


# Boxes --------------------------------------------------------------------------------------------


def test_every_box_is_drawn_where_it_is_and_named():
    nothing = torch.zeros(0, 6)
    found = {"labels": [LABELS, nothing], "INT8": [FOUND, nothing]}
    first, second, third, fourth = boxes_on_pictures(PICTURES, found, NAMES).axes
    assert [axes.get_title("left") for axes in (first, second)] == ["labels", "INT8"]
    assert [axes.get_title("left") for axes in (third, fourth)] == ["", ""]
    places = [(*r.get_xy(), r.get_width(), r.get_height()) for r in rectangles(first)]
    assert places == [(2, 3, 8, 6), (4, 4, 16, 8)]
    assert [t.get_text() for t in first.texts] == ["disk", "star"]  # labels are sure
    assert [t.get_text() for t in second.texts] == ["star 0.87"]
    assert not rectangles(third)
    assert first.images[0].get_array().shape == (16, 24, 3)


def test_a_class_has_one_color_in_every_column():
    found = {"labels": [LABELS], "INT8": [FOUND]}
    labels, int8 = boxes_on_pictures(PICTURES[:1], found, NAMES).axes
    disk, star = (r.get_edgecolor() for r in rectangles(labels))
    assert not same_color(disk, star)
    assert same_color(rectangles(int8)[0].get_edgecolor(), star)


@pytest.mark.parametrize(
    ("pictures", "found"),
    [(PICTURES[:0], {"a": []}), (PICTURES, {}), (PICTURES, {"a": [LABELS]})],
    ids=["no-pictures", "no-columns", "too-few-boxes"],
)
def test_nothing_to_draw_is_refused(pictures, found):
    with pytest.raises(InvalidInputError, match="boxes for each picture"):
        boxes_on_pictures(pictures, found, NAMES)


# Parts --------------------------------------------------------------------------------------------

PARTS = pd.DataFrame(
    [
        ("yolo11n", "input", "backbone and neck", 0, 50.0),
        ("yolo11n", "layers.0.conv", "backbone and neck", 1, 35.0),
        ("yolo11n", "box.0.2", "box branch", 2, 21.34),
        ("yolo11n", "cls.0.2", "class branch", 3, 30.0),
        ("yolo26n", "layers.0.conv", "backbone and neck", 1, 33.0),
    ],
    columns=["network", "layer", "part", "place", "sqnr_db"],
)


def test_activations_are_coloured_by_part_and_the_worst_is_named():
    first, second = sqnr_by_part(PARTS).axes
    for line, (part, color) in zip(first.lines, PART_COLORS.items(), strict=True):
        own = PARTS[(PARTS.part == part) & (PARTS.network == "yolo11n") & (PARTS.layer != "input")]
        assert list(line.get_xdata()) == own.place.tolist()
        assert list(line.get_ydata()) == own.sqnr_db.tolist()
        assert same_color(line.get_color(), color)
    assert [t.get_text() for t in first.texts] == ["box.0.2: 21.3 dB"]
    assert [t.get_text() for t in second.texts] == ["layers.0.conv: 33.0 dB"]
    assert first.get_title("left") == theme.model_label("yolo11n")


def test_parts_are_explained_once():
    (legend,) = sqnr_by_part(PARTS).legends
    assert [t.get_text() for t in legend.get_texts()] == list(PART_COLORS)


# Files --------------------------------------------------------------------------------------------

ULTRALYTICS, OURS, QAT = MAKER_COLORS
FILES = pd.DataFrame(
    [
        ("yolo11n", "onnxruntime", "FP32", 0.0, 1.0),
        ("yolo11n", "onnxruntime", ULTRALYTICS, 4.0, 1.2),
        ("yolo11n", "onnxruntime", OURS, 0.5, 0.6),
        ("yolo11n", "litert", ULTRALYTICS, 9.0, 0.8),
        ("yolo11n", "litert", OURS, 0.75, 0.5),
    ],
    columns=["network", "runtime", "maker", "lost", "over_fp32"],
)


def test_every_file_has_its_bars_beside_its_runtime():
    lost, time = detector_files(FILES).axes
    for axes, column, form in ((lost, "lost", "{:.2f}"), (time, "over_fp32", "{:.2f}")):
        for bars, maker in zip(axes.containers, (ULTRALYTICS, OURS), strict=True):
            own = FILES[FILES.maker == maker]
            assert [bar.get_width() for bar in bars] == own[column].tolist()
            assert all(same_color(bar.get_facecolor(), MAKER_COLORS[maker]) for bar in bars)
            middles = [bar.get_y() + bar.get_height() / 2 for bar in bars]
            assert [round(middle) for middle in middles] == [0, 1]
            written = {t.get_text() for t in axes.texts}
            assert {form.format(value) for value in own[column]} <= written
        assert axes.yaxis_inverted()
    assert [t.get_text() for t in lost.get_yticklabels()] == ["onnxruntime", "litert"]


def test_bars_do_not_overlap():
    for axes in detector_files(FILES).axes:
        spans = sorted((bar.get_y(), bar.get_y() + bar.get_height())
                       for bars in axes.containers for bar in bars)  # fmt: skip
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_makers_that_are_there_are_explained_and_the_base_is_a_line():
    figure = detector_files(FILES)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [ULTRALYTICS, OURS]
    assert figure.axes[1].lines[0].get_xdata()[0] == 1.0
    assert QAT not in {t.get_text() for t in legend.get_texts()}


@pytest.mark.parametrize("draw", [sqnr_by_part, detector_files])
def test_missing_rows_and_columns_are_refused(draw):
    rows = PARTS if draw is sqnr_by_part else FILES
    with pytest.raises(InvalidInputError, match="no rows"):
        draw(rows[:0])
    with pytest.raises(InvalidInputError, match="network"):
        draw(rows.drop(columns="network"))
