"""Marks that mean the same in every figure: methods, execution, granularity, activation bits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from qutils.errors import InvalidInputError
from qutils.lab.figures.theme import BLACK, GREY, REFERENCE, method_color, method_label, model_label

#: Marker by granularity of the weights.
MARKERS = {"per_channel": "o", "per_tensor": "s", "per_group": "D"}
#: Line by activation bits; others are dash-dotted.
LINES: dict[int, Any] = {8: "-", 4: (0, (1.2, 1.2)), 16: (0, (6, 1.5))}
_EXECUTIONS = {"simulated": "hollow: simulated", "integer": "filled: integer kernels, measured"}
_OTHER_LINE = (0, (6, 1.5, 1.2, 1.5))


def line_style(bits: float) -> Any:
    """Line style of an activation bit width."""
    return LINES.get(int(bits), _OTHER_LINE)


def marker_face(execution: str, color: str) -> str:
    """Filled where integer kernels measured it, hollow where it was simulated."""
    if execution not in _EXECUTIONS:
        raise InvalidInputError(
            f"execution {execution!r} of a quantized row: must be integer or simulated"
        )
    return color if execution == "integer" else "white"


def marker(execution: str, color: str, shape: str = "o") -> dict[str, Any]:
    """Settings of ``errorbar`` for one point; where both stand, a ring around a dot."""
    simulated = execution == "simulated"
    return {
        "marker": shape,
        "markersize": 8 if simulated else 6.5,
        "markerfacecolor": marker_face(execution, color),
        "markeredgecolor": color if simulated else "white",
        "markeredgewidth": 1.5 if simulated else 0.8,
        "elinewidth": 1.6,
        "capsize": 3,
        "linestyle": "none",
        "zorder": 4 if simulated else 5,
    }


def draw_point(axes: Axes, x: float, row: pd.Series, xerr: float | None = None) -> None:
    """One setting: marker by granularity, filled or hollow, bar from lowest to highest seed."""
    color = method_color(row["method"])
    axes.errorbar(
        x,
        row["mean"],
        yerr=[[row["mean"] - row["low"]], [row["high"] - row["mean"]]] if row["n"] > 1 else None,
        xerr=xerr,
        color=color,
        **marker(row["execution"], color, MARKERS.get(row["granularity"], "o")),
    )


def legend(
    figure: Figure,
    summary: pd.DataFrame,
    *,
    note: str,
    lines: Iterable[float] = (),
    star: bool = False,
) -> None:
    """One legend below all panels, with only what occurs, and a note on the intervals.

    ``lines`` are the activation bits that lines are drawn for; told where there are several bits.
    ``star``: FP32 has a point of its own, a star.
    """
    handles = [line("FP32", **REFERENCE, marker="*" if star else None, markersize=9)]
    handles += [line(method_label(m), color=method_color(m)) for m in values(summary, "method")]
    if len(values(summary, "activation_bits")) > 1:
        bits = sorted({int(b) for b in lines})
        handles += [line(f"activations {b} bit", linestyle=line_style(b)) for b in bits]
    grains = values(summary, "granularity")
    if len(grains) > 1:
        handles += [_dot(g.replace("_", " "), GREY, MARKERS.get(g, "o")) for g in grains]
    place_legend(figure, handles + execution_handles(summary), note)


def execution_handles(summary: pd.DataFrame) -> list[Line2D]:
    """Legend entries for hollow and filled markers."""
    return [
        _dot(_EXECUTIONS[e], BLACK, "o", marker_face(e, BLACK))
        for e in values(summary, "execution")
    ]


def _dot(label: str, color: str, shape: str, face: str | None = None) -> Line2D:
    style = {"marker": shape, "markerfacecolor": face or color, "color": color}
    return line(label, linestyle="none", **style)


def place_legend(figure: Figure, handles: list[Line2D], note: str) -> None:
    """The legend below all panels, in rows of equal length, titled with what the bars mean."""
    rows = math.ceil(len(handles) / 4)
    columns = math.ceil(len(handles) / rows)
    box = figure.legend(handles=handles, loc="outside lower center", ncols=columns, title=note)
    box.get_title().set_fontsize("small")


def line(label: str, **style: Any) -> Line2D:
    """A legend entry, black unless told."""
    return Line2D([], [], label=label, **{"color": BLACK, "linewidth": 1.8, **style})


def values(summary: pd.DataFrame, column: str) -> list[Any]:
    """Distinct values of a column, sorted."""
    return sorted(summary[column].dropna().unique())


def title(axes: Axes, model: str, fp32: float | None = None) -> None:
    """The model above its panel, with the accuracy of FP32 [%] where the panel refers to it."""
    axes.set_title(model_label(model) if fp32 is None else heading(model, fp32))


def heading(model: str, fp32: float) -> str:
    """A model and the accuracy of its FP32 network [%].

    >>> heading("resnet8", 93.29)
    'ResNet-8 (FP32 93.3 %)'
    """
    return f"{model_label(model)} (FP32 {fp32:.1f} %)"


def apart(figure: Figure) -> None:
    """Room between rows of panels: the numbers of one do not run into the title of the next."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(h_pad=0.1, w_pad=0.08)
