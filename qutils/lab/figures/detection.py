"""Detectors in pictures: boxes before and after, where the error sits, what each file loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    REFERENCE,
    SKY,
    VERMILLION,
    YELLOW,
    model_label,
    themed,
)

#: Colours of classes, in turn: boxes are drawn over pictures.
_CLASSES = (YELLOW, SKY, ORANGE, GREEN, PURPLE, VERMILLION)
#: Always this colour for this part, and for this maker.
PART_COLORS = {"backbone and neck": BLUE, "box branch": VERMILLION, "class branch": GREEN}
MAKER_COLORS = {
    "Ultralytics INT8": ORANGE,
    "qutils INT8": BLUE,
    "qutils INT8, QAT": SKY,
}
_BAR = 0.8


@themed
def boxes_on_pictures(
    pictures: Tensor, found: Mapping[str, Sequence[Tensor]], names: Sequence[str]
) -> Figure:
    """A row for each picture ``[N, 3, H, W]`` in 0..1, a column for each of ``found``.

    Boxes ``[K, 6]`` are left, top, right, bottom [pixels], confidence, class; a confidence of 1
    and more (labels) is not written.

    Raises:
        InvalidInputError: nothing to draw, or another number of pictures than of boxes.
    """
    if not len(pictures) or not found or any(len(b) != len(pictures) for b in found.values()):
        raise InvalidInputError("give boxes for each picture, and at least one picture")
    size = (2.6 * len(found), 2.7 * len(pictures) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(pictures), len(found), squeeze=False)
    for row, picture in zip(range(len(pictures)), pictures, strict=True):
        for axes, (title, boxes) in zip(grid[row], found.items(), strict=True):
            axes.imshow(picture.permute(1, 2, 0).numpy())
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize="medium")
            for box in boxes[row].tolist():
                _draw_box(axes, box, names)
    return figure


def _draw_box(axes: Axes, box: Sequence[float], names: Sequence[str]) -> None:
    left, top, right, bottom, confidence, label = box
    color = _CLASSES[int(label) % len(_CLASSES)]
    width, height, corner = right - left, bottom - top, (left, top)
    axes.add_patch(Rectangle(corner, width, height, edgecolor=color, fill=False, linewidth=1.6))
    name = names[int(label)] if int(label) < len(names) else f"class {int(label)}"
    word = name + (f" {confidence:.2f}" if confidence < 1 else "")
    about = {"facecolor": color, "edgecolor": "none", "pad": 0.6}
    axes.text(left, top, word, fontsize=6.5, color=BLACK, va="bottom", bbox=about, clip_on=True,
              parse_math=False)  # fmt: skip


@themed
def sqnr_by_part(df: pd.DataFrame) -> Figure:
    """SQNR [dB] of every activation in order of execution, coloured by part, a panel a network.

    Columns: ``network layer part place sqnr_db``.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("network", "layer", "part", "place", "sqnr_db"))
    networks = list(dict.fromkeys(df["network"]))
    figure = Figure(figsize=(8.6, 0.8 + 2.9 * len(networks)), layout="constrained")
    grid = figure.subplots(len(networks), 1, squeeze=False, sharey=True)[:, 0]
    for axes, network in zip(grid, networks, strict=True):
        own = df[df["network"] == network]
        for part, color in PART_COLORS.items():
            some = own[(own["part"] == part) & (own["layer"] != "input")]
            axes.plot(some["place"], some["sqnr_db"], "o", color=color, markersize=3.5)
        worst = own.loc[own["sqnr_db"].idxmin()]
        axes.annotate(
            f"{worst['layer']}: {worst['sqnr_db']:.1f} dB", (worst["place"], worst["sqnr_db"]),
            (6, -4), textcoords="offset points", fontsize="small",
        )  # fmt: skip
        axes.set_title(model_label(str(network)))
        axes.set_ylabel("SQNR [dB], simulated")
    grid[-1].set_xlabel("activation, in order of execution")
    patches = [Patch(facecolor=color, label=part) for part, color in PART_COLORS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    return figure


@themed
def detector_files(df: pd.DataFrame) -> Figure:
    """Points of mAP50-95 that each INT8 file loses, and its time over FP32's; a row a network.

    Columns: ``network runtime maker lost over_fp32``; rows of makers without a colour (FP32) are
    the base and not drawn.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("network", "runtime", "maker", "lost", "over_fp32"))
    if not df["maker"].isin(MAKER_COLORS).any():
        raise InvalidInputError(f"there is no INT8 file to draw: makers are {set(df['maker'])}")
    networks = list(dict.fromkeys(df["network"]))
    figure = Figure(figsize=(9.0, 0.8 + 2.8 * len(networks)), layout="constrained")
    grid = figure.subplots(len(networks), 2, squeeze=False, sharex="col")
    for (lost, time), network in zip(grid, networks, strict=True):
        own = df[(df["network"] == network) & df["maker"].isin(MAKER_COLORS)]
        _bars(lost, own, "lost", "{:.2f}")
        _bars(time, own, "over_fp32", "{:.2f}")
        time.axvline(1.0, **REFERENCE)
        lost.set_title(model_label(str(network)))
        time.set_yticklabels([])
    grid[-1, 0].set_xlabel("points of mAP50-95 below FP32")
    grid[-1, 1].set_xlabel("latency over FP32's in the same runtime (dashed: equal)")
    shown = [maker for maker in MAKER_COLORS if maker in set(df["maker"])]
    patches = [Patch(facecolor=MAKER_COLORS[maker], label=maker) for maker in shown]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    return figure


def _bars(axes: Axes, own: pd.DataFrame, column: str, form: str) -> None:
    runtimes = list(dict.fromkeys(own["runtime"]))
    makers = [maker for maker in MAKER_COLORS if maker in set(own["maker"])]
    height = _BAR / len(makers)
    for i, maker in enumerate(makers):
        some = own[own["maker"] == maker].set_index("runtime")[column]
        places = [runtimes.index(r) + (i - (len(makers) - 1) / 2) * height for r in some.index]
        bars = axes.barh(places, some, 0.92 * height, color=MAKER_COLORS[maker])
        axes.bar_label(bars, [form.format(v) for v in some], padding=3, fontsize="small")
    axes.set_yticks(range(len(runtimes)), runtimes)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
